"""Parquet files of Hugging Face datasets: a column of images ({bytes, path}), one of classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sfbench.api.errors import DataError
from sfbench.data.item import Item

MAGIC = b"PAR1"
IMAGES, LABELS = ("image", "img", "images"), ("label", "labels", "fine_label")
ROWS = 256


def items(paths: Sequence[Path]) -> Iterator[Item]:
    """Yield the images; raises DataError where pyarrow is missing or there is no such column."""
    try:
        import pyarrow.parquet as pq  # an optional dependency
    except ImportError:
        msg = f"{paths[0]}: parquet needs pyarrow; pip install 'sfbench[parquet]'"
        raise DataError(msg) from None
    for path in paths:
        file = pq.ParquetFile(path)
        names = file.schema_arrow.names
        image = next((name for name in IMAGES if name in names), None)
        label = next((name for name in LABELS if name in names), None)
        if image is None:
            msg = f"{path}: columns {', '.join(names)}; expected one of {', '.join(IMAGES)}"
            raise DataError(msg)
        columns = [image] if label is None else [image, label]
        for part, batch in enumerate(file.iter_batches(ROWS, columns=columns)):
            for row, entry in enumerate(batch.to_pylist()):
                yield item(f"{path.name}/{part * ROWS + row:08d}", entry[image], entry.get(label))


def item(name: str, image: Any, label: Any) -> Item:
    """Return one row as an image."""
    content = image.get("bytes") if isinstance(image, dict) else image
    if not isinstance(content, bytes):
        return Item(name, b"", None, "the row holds no image bytes")
    return Item(name, content, label if isinstance(label, int) and label >= 0 else None)
