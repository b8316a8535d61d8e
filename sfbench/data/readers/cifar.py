"""CIFAR-10 and CIFAR-100 in their "python" form: pickles, parsed as data (see `api.pickles`)."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sfbench.api import pickled_numbers
from sfbench.api.errors import DataError
from sfbench.api.pickles import Object, PickleError, parse_pickle
from sfbench.data.item import Item
from sfbench.data.readers.tar import content, members_named

SIDE, CHANNELS = 32, 3
VALUES, NDIM = CHANNELS * SIDE * SIDE, 2
MOST = 1000
"""More classes than any CIFAR has."""
TRAINING = ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "train")
LABELS = ("labels", "fine_labels")
PURPOSE = "part of CIFAR"


def is_batch_name(name: str) -> bool:
    """Return whether a file's name is that of a part of the training set."""
    return name in TRAINING[:-1]


def of_folder(path: Path) -> Iterator[Item]:
    """Yield the images of an unpacked archive."""
    for name in TRAINING:
        if (path / name).is_file():
            yield from images(name, (path / name).read_bytes(), path)


def of_tar(path: Path) -> Iterator[Item]:
    """Yield the training images of an archive, part by part."""
    with tarfile.open(path) as archive:
        members = members_named(archive, TRAINING)
        for name in TRAINING:
            if name in members:
                yield from images(name, content(archive, members[name]), path)


def images(name: str, pickled: bytes, path: Path) -> Iterator[Item]:
    """Yield the images of one part; raises DataError for anything but arrays of the right size."""
    try:
        document = parse_pickle(
            io.BytesIO(pickled), pickled_numbers.NAMES.__contains__, purpose=PURPOSE
        )
        if not isinstance(document, dict):
            msg = f"a {pickled_numbers.kind_of(document)}; expected a dictionary"
            raise PickleError(msg)  # noqa: TRY301  # one kind of complaint
        table = {text_of(key): value for key, value in document.items()}
        pixels = pickled_numbers.array_of(table["data"])
        if pixels.dtype != np.uint8 or pixels.ndim != NDIM or pixels.shape[1] != VALUES:
            msg = f"data {pixels.dtype} {pixels.shape}; expected uint8 (N, {VALUES})"
            raise PickleError(msg)  # noqa: TRY301  # one kind of complaint
        labels = labels_of(table, len(pixels))
    except (PickleError, KeyError) as error:
        found = f"it has no {error}" if isinstance(error, KeyError) else error
        msg = f"{path}: {name} is no part of CIFAR ({found})"
        raise DataError(msg) from None
    shaped = pixels.reshape(-1, CHANNELS, SIDE, SIDE).transpose(0, 2, 3, 1)
    for index, (image, label) in enumerate(zip(shaped, labels, strict=True)):
        yield Item(f"{name}/{index:05d}", image, label)


def text_of(key: Any) -> str:
    """Return a key as text: Python 2 wrote text, Python 3 bytes."""
    return key.decode("latin1") if isinstance(key, bytes) else str(key)


def labels_of(table: Mapping[str, Any], count: int) -> Sequence[int | None]:
    """Return the class of each image, or None for each; raises PickleError for anything else."""
    found = next((table[key] for key in LABELS if key in table), None)
    if found is None:
        return [None] * count
    if isinstance(found, Object):
        found = pickled_numbers.array_of(found).tolist()
    numbers = isinstance(found, list) and all(type(n) is int and 0 <= n < MOST for n in found)
    if not numbers or len(found) != count:
        msg = f"its labels are not {count} class numbers"
        raise PickleError(msg)
    return list(found)
