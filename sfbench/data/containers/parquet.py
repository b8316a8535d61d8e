"""Parquet files of Hugging Face datasets: a column of images ({bytes, path}), one of classes."""

from __future__ import annotations

import bisect
import dataclasses
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from sfbench.api.errors import DataError, first_line
from sfbench.data.container import Container, Look, class_of
from sfbench.data.item import Item

MAGIC, SUFFIX = b"PAR1", ".parquet"
BATCH = 64
IMAGES, LABELS = ("image", "img", "images"), ("label", "labels", "fine_label")


class Parquet(Container):
    """The rows of one file, or of all parquet files of a folder by name.

    Rows are read in batches of `BATCH`, of which one is kept: a row group may unpack to far more
    than its size. Raises DataError where pyarrow is missing or no column holds images.
    """

    order: ClassVar[int] = 30

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.groups = [group for file in self.files() for group in groups_of(file)]
        self.ends = list(itertools.accumulate(group.rows for group in self.groups))
        self.kept: tuple[int, int, list[dict[str, Any]]] = (-1, -1, [])
        self.reading: tuple[int, int, Iterator[list[dict[str, Any]]]] = (-1, 0, iter(()))
        self.classes: list[int | None] | None = None
        if not len(self):
            msg = f"{path}: parquet without rows; expected images"
            raise DataError(msg)

    @classmethod
    def takes(cls, look: Look) -> bool:
        """Return whether it is a parquet file, or a folder with some."""
        inside = look.path.is_dir() and any(name.endswith(SUFFIX) for name in look.names)
        return look.head.startswith(MAGIC) or inside

    @property
    def title(self) -> str:
        """Parquet."""
        return "parquet"

    def files(self) -> list[Path]:
        """Return the parquet files."""
        if self.path.is_file():
            return [self.path]
        found = [*self.path.glob(f"*{SUFFIX}"), *self.path.glob(f"*/*{SUFFIX}")]
        return sorted(file for file in found if file.is_file())

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.ends[-1] if self.ends else 0

    def item(self, index: int) -> Item:
        """Return one row."""
        place = bisect.bisect_right(self.ends, index)
        group = self.groups[place]
        row = index - (self.ends[place] - group.rows)
        number = row // BATCH
        if self.kept[:2] != (place, number):
            self.kept = place, number, self.batch(place, number)
        entry = self.kept[2][row % BATCH]
        name = f"{group.file.name}/{group.first + row:08d}"
        return item(name, entry[group.image], class_of(entry.get(group.label or "")))

    def batch(self, place: int, number: int) -> list[dict[str, Any]]:
        """Return one batch of a row group; those before it are passed over."""
        if self.reading[0] != place or self.reading[1] > number:
            self.reading = place, 0, self.groups[place].batches()
        _, done, batches = self.reading
        rows: list[dict[str, Any]] = []
        for _ in range(done, number + 1):
            rows = next(batches, [])
        self.reading = place, number + 1, batches
        return rows

    def label(self, index: int) -> int | None:
        """Return the class of one row; all are read at once, without the images."""
        return self.labels()[index]

    def labels(self) -> list[int | None]:
        """Return the class of every row, None where there is none."""
        if self.classes is None:
            self.classes = []
            for group in self.groups:
                for value in group.labels():
                    found = class_of(value)
                    if found is None and value is not None:
                        self.odd_labels.add(str(value)[:40])
                    self.classes.append(found)
        return self.classes


@dataclasses.dataclass(frozen=True, slots=True)
class Group:
    """One row group of a file: its number of rows, the first, and the columns of images, classes."""

    file: Path
    number: int
    rows: int
    first: int
    image: str
    label: str | None

    def labels(self) -> list[Any]:
        """Return the values of the column of classes; None for each where there is no such column."""
        if self.label is None:
            return [None] * self.rows
        return [row[self.label] for rows in self.columns([self.label]) for row in rows]

    def batches(self) -> Iterator[list[dict[str, Any]]]:
        """Yield the rows, `BATCH` at a time; raises DataError where they are damaged."""
        return self.columns([self.image] if self.label is None else [self.image, self.label])

    def columns(self, columns: list[str]) -> Iterator[list[dict[str, Any]]]:
        """Yield these columns of the rows."""
        import pyarrow as pa  # an optional dependency
        from pyarrow import parquet

        try:
            with parquet.ParquetFile(self.file) as opened:
                found = opened.iter_batches(BATCH, row_groups=[self.number], columns=columns)
                yield from (batch.to_pylist() for batch in found)
        except (pa.ArrowException, OSError) as error:
            msg = f"{self.file}: damaged parquet ({first_line(error)})"
            raise DataError(msg) from None


def groups_of(file: Path) -> list[Group]:
    """Return the row groups of a file."""
    try:
        import pyarrow as pa  # an optional dependency
        from pyarrow import parquet
    except ImportError:
        msg = f"{file}: parquet needs pyarrow; pip install 'sfbench[parquet]'"
        raise DataError(msg) from None
    try:
        with parquet.ParquetFile(file) as opened:
            names = opened.schema_arrow.names
            counts = [
                opened.metadata.row_group(number).num_rows
                for number in range(opened.num_row_groups)
            ]
    except (pa.ArrowException, OSError) as error:
        msg = f"{file}: cannot be read as parquet ({first_line(error)})"
        raise DataError(msg) from None
    image = next((name for name in IMAGES if name in names), None)
    label = next((name for name in LABELS if name in names), None)
    if image is None:
        msg = f"{file}: columns {', '.join(names)}; expected one of {', '.join(IMAGES)}"
        raise DataError(msg)
    firsts = [0, *itertools.accumulate(counts)]
    return [
        Group(file, number, rows, firsts[number], image, label)
        for number, rows in enumerate(counts)
    ]


def item(name: str, image: Any, label: int | None) -> Item:
    """Return one row as an image."""
    content = image.get("bytes") if isinstance(image, dict) else image
    if not isinstance(content, bytes):
        return Item(name, b"", None, "the row holds no image bytes")
    return Item(name, content, label)


CONTAINER = Parquet
