"""What every container of images can be asked, whether they are measured against or trained on."""

from __future__ import annotations

import abc
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from sfbench.api.images import MOST_CLASSES, folder_of
from sfbench.data.item import Item
from sfbench.store.content import file_sha256

SHOWN, DIGITS = 3, 10
CLASSES = range(MOST_CLASSES)


class Counted:
    """How many there are of something, and the names of the first few."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self.count = 0
        self.shown: list[str] = []
        for name in names:
            self.add(name)

    def add(self, name: str) -> None:
        """Count one more."""
        self.count += 1
        if len(self.shown) < SHOWN:
            self.shown.append(name)


def class_of(value: Any) -> int | None:
    """Return the class that a label stands for: a whole number from 0; None for anything else."""
    if isinstance(value, str | bytes):
        text = value.decode(errors="replace") if isinstance(value, bytes) else value
        value = int(text) if text.strip().isdecimal() and len(text) < DIGITS else None
    if value is None or isinstance(value, bool) or not hasattr(value, "__index__"):
        return int(value) if isinstance(value, float) and value in CLASSES else None
    return int(value) if int(value) in CLASSES else None


class Look(NamedTuple):
    """What a container is recognized by: content, never its name.

    `head`: the first bytes of a file, b"" for a folder. `names`: what is inside a folder, down to
    its subfolders, the members of a zip file, or the first members of a tar file.
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
        self.odd_labels = Counted()
        """Labels that are no classes."""

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

    def labels(self) -> list[int | None]:
        """Return the class of every image, None where there is none."""
        return [self.label(index) for index in range(len(self))]

    def beside(self) -> dict[str, Counted]:
        """Return what lies beside the images and is not used, by what is the matter with it."""
        names: list[str] = []
        if self.path.is_dir():
            used = {file.relative_to(self.path).parts[0] for file in self.files()}
            inside = sorted(file.name for file in self.path.iterdir())
            names = [name for name in inside if name not in used and not name.startswith(".")]
        none = [f"image {n}" for n, label in enumerate(self.labels()) if label is None]
        some = 0 < len(none) < len(self)
        return {
            f"files beside the {self.title} are not used": Counted(names),
            "labels are no numbers from 0: no classes are used": self.odd_labels,
            "images have no class: no classes are used": Counted(none if some else []),
        }

    def files(self) -> list[Path]:
        """Return the files that hold the images and their classes."""
        return [self.path]

    def sha256(self) -> str:
        """Return the digest of the file; of several, the digest of their names and digests."""
        found = [(file.name, file_sha256(file)) for file in self.files()]
        if len(found) == 1:
            return found[0][1]
        return hashlib.sha256("".join(f"{n}\0{d}\n" for n, d in found).encode()).hexdigest()


def folder_classes(names: Sequence[str]) -> dict[str, int]:
    """Return the class of each subfolder by its name; none if any image lies outside of them."""
    parents = {folder_of(name) for name in names}
    flat = any("/" in parent or parent == "." for parent in parents)
    return {} if flat or len(parents) == 1 else {p: i for i, p in enumerate(sorted(parents))}
