"""LSUN's LMDB folders: an encoded image a key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sfbench.api.errors import DataError
from sfbench.data.item import Item


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


def count(path: Path) -> int:
    """Return the number of entries."""
    with opened(path) as database:
        return int(database.stat()["entries"])


def items(path: Path) -> Iterator[Item]:
    """Yield the entries in the order of their keys."""
    with opened(path) as database, database.begin(buffers=False) as transaction:
        for key, value in transaction.cursor():
            yield Item(key.decode(errors="replace"), bytes(value))
