"""STL-10's binaries: 96x96 images, column by column; training and unlabeled, never the test set.

The official Styleformer trains on both (105,000 images).
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import ClassVar, NamedTuple

from sfbench.api.errors import DataError
from sfbench.data.container import Container, Look
from sfbench.data.item import Item
from sfbench.data.tar_files import OpenTar, Place, content, members_named, tar_errors

SIDE, CHANNELS = 96, 3
BYTES = SIDE * SIDE * CHANNELS
PARTS = ("train_X.bin", "unlabeled_X.bin")
CLASSES = "train_y.bin"


class Part(NamedTuple):
    """One file of images: its name, its length in images, and how bytes of it are read."""

    name: str
    length: int
    read: Callable[[int, int], bytes]


class Stl10(Container):
    """The images of an archive, or of its unpacked folder."""

    order: ClassVar[int] = 50

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.classes, self.parts = of_folder(path) if path.is_dir() else of_tar(path)
        self.ends = list(itertools.accumulate(part.length for part in self.parts))

    @classmethod
    def takes(cls, look: Look) -> bool:
        """Return whether a folder or tar file holds a part to train on."""
        if not (look.is_tar or look.path.is_dir()):
            return False
        return not {PurePosixPath(name).name for name in look.names}.isdisjoint(PARTS)

    @property
    def title(self) -> str:
        """An archive, or its files."""
        return "STL-10 binaries" if self.path.is_dir() else "STL-10 archive"

    def files(self) -> list[Path]:
        """Return the archive, or the files of its folder."""
        if self.path.is_file():
            return [self.path]
        named = [self.path / name for name in (*PARTS, CLASSES)]
        return [file for file in named if file.is_file()]

    def __len__(self) -> int:
        """Return the number of images."""
        return self.ends[-1]

    def item(self, index: int) -> Item:
        """Return one image, uint8 [96, 96, 3]; classes are numbered from 1 in the file."""
        import numpy as np  # slow to import

        place = bisect.bisect_right(self.ends, index)
        part = self.parts[place]
        row = index - (self.ends[place] - part.length)
        values = np.frombuffer(part.read(row * BYTES, BYTES), np.uint8)
        pixels = values.reshape(CHANNELS, SIDE, SIDE).transpose(2, 1, 0)
        classed = part.name == PARTS[0] and row < len(self.classes)
        return Item(f"{part.name}/{row:06d}", pixels, self.classes[row] - 1 if classed else None)


def of_folder(path: Path) -> tuple[bytes, list[Part]]:
    """Return the classes and parts of an unpacked archive."""

    def reader(file: Path) -> Callable[[int, int], bytes]:
        def read(start: int, size: int) -> bytes:
            with file.open("rb") as opened:
                opened.seek(start)
                return opened.read(size)

        return read

    classes = (path / CLASSES).read_bytes() if (path / CLASSES).is_file() else b""
    named = [path / name for name in PARTS]
    return classes, [
        Part(file.name, whole_images(path, file.name, file.stat().st_size), reader(file))
        for file in named
        if file.is_file()
    ]


def of_tar(path: Path) -> tuple[bytes, list[Part]]:
    """Return the classes and parts of an archive."""
    tar = OpenTar(path)
    with tar_errors(path):
        members = members_named(tar.archive, (*PARTS, CLASSES))
        classes = content(tar.archive, members[CLASSES]) if CLASSES in members else b""

    def reader(place: Place) -> Callable[[int, int], bytes]:
        def read(start: int, size: int) -> bytes:
            with tar_errors(path):
                return tar.read(place, start, size)

        return read

    return classes, [
        Part(name, whole_images(path, name, members[name].size), reader(Place.of(members[name])))
        for name in PARTS
        if name in members
    ]


def whole_images(path: Path, part: str, size: int) -> int:
    """Return how many images a file of that many bytes holds; raises DataError for a cut one."""
    count, rest = divmod(size, BYTES)
    if rest or not count:
        msg = f"{path}: {part} is truncated in image {count}: {rest} of {BYTES} bytes"
        raise DataError(msg)
    return count


CONTAINER = Stl10
