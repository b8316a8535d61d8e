"""Opens a dataset by what the plan says: `shapes`, or a file or folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sfbench.api.errors import UsageError
from sfbench.api.images import ImageCollection
from sfbench.plan import Source

if TYPE_CHECKING:
    from sfbench.api.protocols import Dataset

BUILT_IN = ("shapes",)


def locate(text: str) -> Source:
    """Return what a --data value stands for, digested. No torch needed.

    Raises UsageError for a name that is neither built in nor a path, DataError for a path
    without images.
    """
    if text in BUILT_IN:
        return Source(kind=text)
    path = Path(text)
    if not path.exists():
        msg = f"--data {text}: not a file or folder, and not one of {', '.join(BUILT_IN)}"
        raise UsageError(msg)
    collection = ImageCollection(path)
    return Source(kind="files", path=str(path.resolve()), sha256=collection.sha256())


def open_dataset(source: Source, resolution: int) -> Dataset:
    """Return the dataset at that resolution."""
    if source.kind == "shapes":
        from sfbench.data.shapes import ShapesDataset  # torch comes with it

        return ShapesDataset(resolution)
    from sfbench.data.files import FileDataset  # torch comes with it

    return FileDataset(Path(str(source.path)), resolution, str(source.sha256))
