"""STL-10's binaries: 96x96 images, column by column; training and unlabelled, never the test set.

The official Styleformer trains on both (105,000 images).
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sfbench.api.errors import DataError
from sfbench.data.item import Item
from sfbench.data.readers.tar import content, members_named

SIDE, CHANNELS = 96, 3
BYTES = SIDE * SIDE * CHANNELS
PARTS = ("train_X.bin", "unlabeled_X.bin")
CLASSES = "train_y.bin"


def is_image_file(name: str) -> bool:
    """Return whether a file's name is that of a part to train on."""
    return name in PARTS


def of_folder(path: Path) -> Iterator[Item]:
    """Yield the images of an unpacked archive."""
    classes = (path / CLASSES).read_bytes() if (path / CLASSES).is_file() else b""
    for part in PARTS:
        if (path / part).is_file():
            with (path / part).open("rb") as file:
                yield from images(part, file.read, classes if part == PARTS[0] else b"", path)


def of_tar(path: Path) -> Iterator[Item]:
    """Yield the images of an archive."""
    with tarfile.open(path) as archive:
        members = members_named(archive, (*PARTS, CLASSES))
        classes = content(archive, members[CLASSES]) if CLASSES in members else b""
        for part in PARTS:
            file = archive.extractfile(members[part]) if part in members else None
            if file is not None:
                yield from images(part, file.read, classes if part == PARTS[0] else b"", path)


def images(part: str, read: object, classes: bytes, path: Path) -> Iterator[Item]:
    """Yield the images of one part, read one after the other; classes are numbered from 1 there."""
    index = 0
    while values := read(BYTES):  # type: ignore[operator]  # a file's read
        if len(values) != BYTES:
            msg = f"{path}: {part} ends within image {index}: {len(values)} of {BYTES} bytes"
            raise DataError(msg)
        pixels = np.frombuffer(values, np.uint8).reshape(CHANNELS, SIDE, SIDE)
        label = classes[index] - 1 if index < len(classes) else None
        yield Item(f"{part}/{index:06d}", pixels.transpose(2, 1, 0), label)
        index += 1
