"""What every container of images can be asked, whether they are measured against or trained on."""

from __future__ import annotations

import abc
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, NamedTuple

from sfbench.data.item import Item


class Look(NamedTuple):
    """What a container is recognized by: content, never its name.

    `head`: the first bytes of a file, b"" for a folder. `names`: what is directly inside a folder,
    the members of a zip file, or the first members of a tar file.
    """

    path: Path
    head: bytes
    names: tuple[str, ...]
    is_zip: bool = False
    is_tar: bool = False


class Container(abc.ABC):
    """Images by number, in an order that the content decides."""

    order: ClassVar[int] = 0
    """Kinds are asked in this order, so that special ones come before general ones."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    @abc.abstractmethod
    def takes(cls, look: Look) -> bool:
        """Return whether this kind reads what was looked at."""

    @property
    @abc.abstractmethod
    def title(self) -> str:
        """What the source was recognized as, e.g. "CIFAR archive"."""

    @abc.abstractmethod
    def __len__(self) -> int:
        """Return the number of images."""

    @abc.abstractmethod
    def item(self, index: int) -> Item:
        """Return one image; reading in ascending order is fast for every kind."""

    def label(self, index: int) -> int | None:
        """Return the class of one image, or None."""
        return self.item(index).label

    def items(self) -> Iterator[Item]:
        """Yield all images."""
        return map(self.item, range(len(self)))

    def beside(self) -> dict[str, list[str]]:
        """Return what lies beside the images and is left out, by what is the matter with it."""
        return {}

    def files(self) -> list[Path]:
        """Return the files that hold the images and their classes."""
        return [self.path]

    def sha256(self) -> str:
        """Return the digest of the file; of several, the digest of their names and digests."""
        found = [(file.name, file_sha256(file)) for file in self.files()]
        if len(found) == 1:
            return found[0][1]
        return hashlib.sha256("".join(f"{n}\0{d}\n" for n, d in found).encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """Return the digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
