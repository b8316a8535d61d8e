"""Opens the dataset that a plan names: `shapes`, or a file or folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sfbench.api.errors import DataError, UsageError
from sfbench.data.containers import kinds, open_container
from sfbench.data.prepared_folder import is_prepared, read_meta
from sfbench.store.content import check_unchanged, stamp_of
from sfbench.values.case import Source
from sfbench.values.paths import path_of
from sfbench.values.sizes import Size, square

if TYPE_CHECKING:
    from sfbench.api.protocols import Dataset
    from sfbench.data.container import Container

BUILT_IN = ("shapes",)


def check_there(text: str, flag: str) -> None:
    """Raise UsageError for a name that is neither built in nor a path."""
    if not text:
        msg = f"{flag} is missing or empty; expected a file or folder, or {', '.join(BUILT_IN)}"
        raise UsageError(msg)
    if text not in BUILT_IN and not path_of(text).exists():
        msg = f"{flag} {text}: not a file or folder, and not one of {', '.join(BUILT_IN)}"
        raise UsageError(msg)


def locate(text: str, flag: str = "--data") -> Source:
    """Return the source that a --data value names, with its digest. No torch needed.

    Raises UsageError for a name that is neither built in nor a path, DataError for a path
    without images.
    """
    return opened(text, flag)[0]


def opened(text: str, flag: str = "--data") -> tuple[Source, Container | None]:
    """Return `locate` and the container that it opened; None of built-in and prepared images."""
    check_there(text, flag)
    if text in BUILT_IN:
        return Source(kind=text), None
    path = path_of(text)
    stamp = stamp_of(path)  # before the digest: what changes after it is seen
    place = str(path.resolve())
    if is_prepared(path):
        sha256 = read_meta(path)["sha256"]
        return Source(kind="prepared", path=place, sha256=sha256, stamp=stamp), None
    kind, container = open_container(path)
    return Source(kind=kind, path=place, sha256=container.sha256(), stamp=stamp), container


def check_source(source: Source | None) -> None:
    """Raise DataError if the files of a located source have changed since."""
    if source is not None and source.path is not None:
        check_unchanged(Path(source.path), source.stamp)


def reading_modules(kind: str) -> tuple[str, ...]:
    """Return the modules that read a kind of source and that nothing imports by name."""
    return (kinds()[kind].__module__,) if kind in kinds() else ()


def container_of(source: Source) -> Container | None:
    """Return the container of a located source; None of built-in and prepared images."""
    if source.path is None or source.kind not in kinds():
        return None
    return open_container(Path(source.path))[1]


def open_dataset(source: Source, size: Size | None, container: Container | None = None) -> Dataset:
    """Return the dataset at that size; with None, files keep their sizes.

    `container`: the source's, where it is open already.
    """
    if source.kind == "shapes":
        from sfbench.data.shapes import ShapesDataset  # torch comes with it

        if size is None:
            msg = "shapes can have any size; choose one with --res"
            raise UsageError(msg)
        return ShapesDataset(size)
    from sfbench.data.dataset import ContainerDataset  # torch comes with it
    from sfbench.data.prepared import PreparedDataset, PreparedImages

    if source.kind == "prepared":
        images = PreparedImages(Path(str(source.path)))
        if size not in {None, square(images.resolution)}:
            msg = f"{source.path}: expected {size} px, found images of {images.resolution} px"
            raise DataError(msg)
        return PreparedDataset(images)
    if container is None:
        _, container = open_container(Path(str(source.path)))
    return ContainerDataset(container, size, str(source.sha256))
