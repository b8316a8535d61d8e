"""LSUN's LMDB folders: one encoded image per key."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from sfbench.api.errors import DataError
from sfbench.data.container import Container, Look
from sfbench.data.item import Item

DATABASE = "data.mdb"


class Lmdb(Container):
    """The entries of a database, in the order of their keys."""

    order: ClassVar[int] = 20

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        with opened(path) as database, database.begin(buffers=False) as transaction:
            self.keys = [bytes(key) for key in transaction.cursor().iternext(values=False)]
        if not self.keys:
            msg = f"{path}: an LMDB folder without entries; expected images"
            raise DataError(msg)

    @classmethod
    def takes(cls, look: Look) -> bool:
        """Return whether a folder holds a database."""
        return look.path.is_dir() and DATABASE in look.names

    @property
    def title(self) -> str:
        """An LMDB folder."""
        return "LMDB"

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self.keys)

    def item(self, index: int) -> Item:
        """Return one entry."""
        key = self.keys[index]
        # One process may open a database once at a time: nobody holds it between two images.
        with opened(self.path) as database, database.begin(buffers=False) as transaction:
            value = transaction.get(key)
        return Item(key.decode(errors="replace"), bytes(value))

    def label(self, index: int) -> int | None:  # noqa: ARG002  # the same for all
        """Return None: LSUN's databases hold no classes."""
        return None

    def files(self) -> list[Path]:
        """Return the database's file; locks say nothing of images."""
        return [self.path / DATABASE]


def opened(path: Path) -> Any:
    """Return the database; raises DataError where lmdb is missing or cannot open it."""
    try:
        import lmdb  # an optional dependency
    except ImportError:
        msg = f"{path}: an LMDB folder needs the package lmdb; pip install 'sfbench[lmdb]'"
        raise DataError(msg) from None
    try:
        return lmdb.open(str(path), readonly=True, lock=False, readahead=False, meminit=False)
    except lmdb.Error as error:
        msg = f"{path}: cannot be opened as LMDB ({error})"
        raise DataError(msg) from None


CONTAINER = Lmdb
