"""CIFAR-10 and CIFAR-100 in their "python" form: pickles, parsed as data (see `api.pickles`)."""

from __future__ import annotations

import bisect
import io
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar

from sfbench.api import pickled_numbers
from sfbench.api.errors import DataError
from sfbench.api.pickles import Object, PickleError, parse_pickle
from sfbench.data.container import Container, Look
from sfbench.data.item import Item
from sfbench.data.tar_files import OpenTar, content, members_named, tar_errors

if TYPE_CHECKING:
    import numpy as np

SIDE, CHANNELS = 32, 3
VALUES, NDIM = CHANNELS * SIDE * SIDE, 2
MOST = 1000
"""More classes than any CIFAR has."""
TRAINING = ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "train")
LABELS = ("labels", "fine_labels")
PURPOSE = "CIFAR batch"


class Cifar(Container):
    """The training images of an archive, or of its unpacked folder, batch by batch."""

    order: ClassVar[int] = 40

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.parts = [(name, *arrays_of(name, pickled, path)) for name, pickled in batches_of(path)]
        self.ends = list(itertools.accumulate(len(pixels) for _, pixels, _ in self.parts))

    @classmethod
    def takes(cls, look: Look) -> bool:
        """Return whether a folder or tar file holds a batch of the training set."""
        if not (look.is_tar or look.path.is_dir()):
            return False
        names = {PurePosixPath(name).name for name in look.names}
        hundred = names >= {"train", "test", "meta"} and not (look.path / "train").is_dir()
        return hundred or not names.isdisjoint(TRAINING[:-1])

    @property
    def title(self) -> str:
        """An archive, or its batches."""
        return "CIFAR batches" if self.path.is_dir() else "CIFAR archive"

    def files(self) -> list[Path]:
        """Return the archive, or the batches of its folder."""
        if self.path.is_file():
            return [self.path]
        return [self.path / name for name in TRAINING if (self.path / name).is_file()]

    def __len__(self) -> int:
        """Return the number of training images."""
        return self.ends[-1]

    def item(self, index: int) -> Item:
        """Return one image, uint8 [32, 32, 3]."""
        place = bisect.bisect_right(self.ends, index)
        name, pixels, labels = self.parts[place]
        row = index - (self.ends[place] - len(pixels))
        return Item(f"{name}/{row:05d}", pixels[row], labels[row])


def batches_of(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of each batch of the training set."""
    if path.is_dir():
        for name in TRAINING:
            if (path / name).is_file():
                yield name, (path / name).read_bytes()
        return
    tar = OpenTar(path)
    with tar_errors(path):
        members = members_named(tar.archive, TRAINING)
        for name in TRAINING:
            if name in members:
                yield name, content(tar.archive, members[name])


def arrays_of(name: str, pickled: bytes, path: Path) -> tuple[np.ndarray, Sequence[int | None]]:
    """Return images uint8 [N, 32, 32, 3] of one batch, and their classes.

    Raises DataError for anything but arrays of the right size.
    """
    try:
        document = parse_pickle(
            io.BytesIO(pickled), pickled_numbers.NAMES.__contains__, purpose=PURPOSE
        )
        if not isinstance(document, dict):
            msg = f"a {pickled_numbers.kind_of(document)}; expected a dictionary"
            raise PickleError(msg)  # noqa: TRY301  # one kind of complaint
        table = {text_of(key): value for key, value in document.items()}
        pixels = pickled_numbers.array_of(table["data"])
        if pixels.dtype != "uint8" or pixels.ndim != NDIM or pixels.shape[1] != VALUES:
            msg = f"data {pixels.dtype} {pixels.shape}; expected uint8 (N, {VALUES})"
            raise PickleError(msg)  # noqa: TRY301  # one kind of complaint
        labels = labels_of(table, len(pixels))
    except (PickleError, KeyError) as error:
        found = f"it has no {error}" if isinstance(error, KeyError) else error
        msg = f"{path}: {name} is not a CIFAR batch ({found})"
        raise DataError(msg) from None
    return pixels.reshape(-1, CHANNELS, SIDE, SIDE).transpose(0, 2, 3, 1), labels


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
        msg = f"expected {count} class numbers as labels"
        raise PickleError(msg)
    return list(found)


CONTAINER = Cifar
