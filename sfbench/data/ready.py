"""Training data for --data: a prepared folder, or a source prepared once and stored."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sfbench.api.errors import DataError
from sfbench.data.decode import Decoding
from sfbench.data.item import Item
from sfbench.data.prepare import Preparation, Progress, prepare
from sfbench.data.prepared import PreparedImages
from sfbench.data.prepared_folder import is_prepared
from sfbench.data.shapes import COUNT, DEFINITION, ShapesDataset
from sfbench.data.sources import opened
from sfbench.values.paths import path_of
from sfbench.values.sizes import square

SHAPES_KEPT = 20_000
"""Scenes of `shapes` used for training; the last 30,000 are held out."""


def ready_images(
    text: str, resolution: int, kept: Path, most: int | None, progress: Progress
) -> PreparedImages:
    """Return the images at that resolution.

    Other sources are prepared into a folder in `kept`, named by a digest of their content. Raises
    DataError if a prepared folder has another resolution.
    """
    path = path_of(text)
    if is_prepared(path):
        found = PreparedImages(path)
        if found.resolution != resolution:
            msg = f"{path}: expected {resolution} px, found images of {found.resolution} px"
            raise DataError(msg)
        return found
    source, container = opened(text)
    wanted = Preparation(decoding=Decoding(resolution=resolution), most=most)
    if container is None:
        count = min(most or SHAPES_KEPT, COUNT)
        origin = {"name": "shapes", "kind": "drawn", "definition": DEFINITION}
        total, items = count, drawn(resolution, count)
        folder = kept / f"{DEFINITION}-{resolution}-{count}"
    else:
        total, items = len(container), container.items()
        origin = {"name": path.name, "kind": container.title, "sha256": str(source.sha256)}
        folder = kept / f"{str(source.sha256)[:16]}-{resolution}-{most or 'all'}"
    if not is_prepared(folder):
        try:
            prepare(
                items,
                folder,
                wanted,
                source=origin,
                total=total,
                progress=progress,
            )
        except DataError:
            if not is_prepared(folder):  # else another process was faster
                raise
    return PreparedImages(folder)


def drawn(resolution: int, count: int) -> Iterator[Item]:
    """Yield the first scenes of `shapes`."""
    shapes = ShapesDataset(square(resolution))
    for index, label in enumerate(shapes.labels(range(count))):
        pixels = shapes.draw(index).transpose(1, 2, 0)
        yield Item(f"{index:05d}", pixels, label)
