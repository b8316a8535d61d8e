"""Opens a dataset by what the plan says: `shapes`, or a file or folder."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from sfbench.api.errors import DataError, UsageError
from sfbench.api.images import ImageCollection
from sfbench.data.prepared_folder import is_prepared, read_meta
from sfbench.plan import Source

if TYPE_CHECKING:
    from sfbench.api.protocols import Dataset

BUILT_IN = ("shapes",)
ARRAYS = frozenset({".npy", ".npz"})


def check_there(text: str, flag: str) -> None:
    """Raise UsageError for a name that is neither built in nor a path."""
    if text not in BUILT_IN and not Path(text).exists():
        msg = f"{flag} {text}: not a file or folder, and not one of {', '.join(BUILT_IN)}"
        raise UsageError(msg)


def locate(text: str, flag: str = "--data") -> Source:
    """Return what a --data value stands for, digested. No torch needed.

    Raises UsageError for a name that is neither built in nor a path, DataError for a path
    without images.
    """
    check_there(text, flag)
    if text in BUILT_IN:
        return Source(kind=text)
    path = Path(text)
    if path.is_file() and path.suffix.lower() in ARRAYS:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return Source(kind="array", path=str(path.resolve()), sha256=digest)
    if is_prepared(path):
        return Source(kind="prepared", path=str(path.resolve()), sha256=read_meta(path)["sha256"])
    collection = ImageCollection(path)
    return Source(kind="files", path=str(path.resolve()), sha256=collection.sha256())


def open_dataset(source: Source, resolution: int | None) -> Dataset:
    """Return the dataset at that resolution; with None, files with the sizes they have."""
    if source.kind == "shapes":
        from sfbench.data.shapes import ShapesDataset  # torch comes with it

        if resolution is None:
            msg = "shapes are drawn at a resolution: give --res"
            raise UsageError(msg)
        return ShapesDataset(resolution)
    from sfbench.data.files import ArrayDataset, FileDataset  # torch comes with it
    from sfbench.data.prepared import PreparedDataset, PreparedImages

    if source.kind == "prepared":
        images = PreparedImages(Path(str(source.path)))
        if resolution not in {None, images.resolution}:
            msg = f"{source.path}: prepared at {images.resolution} px, not {resolution}"
            raise DataError(msg)
        return PreparedDataset(images)

    if source.kind == "array":
        return ArrayDataset(Path(str(source.path)), str(source.sha256))
    return FileDataset(Path(str(source.path)), resolution, str(source.sha256))
