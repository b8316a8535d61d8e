"""CIFAR-10 and CIFAR-100 in their "python" form: pickles, of which nothing but arrays is loaded."""

from __future__ import annotations

import io
import pickle
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sfbench.api.errors import DataError
from sfbench.data.item import Item

SIDE, CHANNELS = 32, 3
TRAINING = ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "train")
LABELS = (b"labels", b"fine_labels", "labels", "fine_labels")
ALLOWED = frozenset(
    {
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("_codecs", "encode"),
    }
)


class ArraysOnly(pickle.Unpickler):
    """Reads arrays, text and numbers; any other class is refused."""

    def find_class(self, module: str, name: str) -> Any:
        """Return one of numpy's constructors of arrays; raises UnpicklingError for all else."""
        if (module, name) not in ALLOWED:
            msg = f"it asks for {module}.{name}"
            raise pickle.UnpicklingError(msg)
        return super().find_class(module, name)


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
        members = {Path(m.name).name: m for m in archive.getmembers() if m.isfile()}
        for name in TRAINING:
            file = archive.extractfile(members[name]) if name in members else None
            if file is not None:
                yield from images(name, file.read(), path)


def images(name: str, content: bytes, path: Path) -> Iterator[Item]:
    """Yield the images of one part; raises DataError for anything but arrays."""
    try:
        table: Mapping[Any, Any] = ArraysOnly(
            io.BytesIO(content), encoding="bytes"
        ).load()  # restricted
        data = next(table[key] for key in (b"data", "data") if key in table)
        pixels = np.asarray(data, np.uint8).reshape(-1, CHANNELS, SIDE, SIDE).transpose(0, 2, 3, 1)
        labels = next((table[key] for key in LABELS if key in table), [None] * len(pixels))
    except (pickle.UnpicklingError, ValueError, TypeError, StopIteration, EOFError) as error:
        msg = f"{path}: {name} is no part of CIFAR ({error})"
        raise DataError(msg) from None
    for index, (image, label) in enumerate(zip(pixels, labels, strict=True)):
        yield Item(f"{name}/{index:05d}", image, None if label is None else int(label))
