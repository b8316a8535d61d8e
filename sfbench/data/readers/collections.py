"""Folders and zip files of images; classes from dataset.json, or one a sub-folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from sfbench.api.errors import DataError
from sfbench.api.images import ImageCollection
from sfbench.data.item import Item, Reader


def opened(path: Path) -> Reader:
    """Return the reader of a folder or zip file of images; raises DataError when it holds none."""
    images = ImageCollection(path)
    kind = "folder" if path.is_dir() else "zip"
    return Reader(f"{kind} of images", len(images), lambda: items(images))


def items(images: ImageCollection) -> Iterator[Item]:
    """Yield the images by name."""
    classes = folder_classes(images)
    for index, name in enumerate(images.names):
        label = images.label(index)
        if label is None and not images.class_of:
            label = classes.get(str(PurePosixPath(name).parent))
        try:
            yield Item(name, images.read_bytes(name), label)
        except (OSError, DataError) as error:
            yield Item(name, b"", None, str(error))


def folder_classes(images: ImageCollection) -> dict[str, int]:
    """Return the number of each sub-folder's class; none where images lie outside of any."""
    parents = {str(PurePosixPath(name).parent) for name in images.names}
    flat = any(len(PurePosixPath(name).parts) != 2 for name in images.names)  # noqa: PLR2004  # class, file
    return {} if flat or len(parents) == 1 else {p: i for i, p in enumerate(sorted(parents))}
