"""Containers of images, each kind a module that defines `CONTAINER`; its name is the source's kind.

A new container is a new module; nothing else names it.
"""

from __future__ import annotations

import functools
import importlib
import itertools
import pkgutil
import sys
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from sfbench.api.errors import DataError, first_line
from sfbench.api.regular_files import check_regular
from sfbench.data.container import Container, Look

HEAD_BYTES, NAMES_READ, MOST_NAMES = 8, 64, 10_000
ZIP = b"PK"


@functools.cache
def kinds() -> Mapping[str, type[Container]]:
    """Return every kind of container by name, in the order in which they are tried."""
    found: list[tuple[str, type[Container]]] = [
        (module.name, importlib.import_module(f"{__name__}.{module.name}").CONTAINER)
        for module in pkgutil.iter_modules(__path__)
    ]
    return MappingProxyType(dict(sorted(found, key=lambda pair: pair[1].order)))


def described() -> Iterator[tuple[str, str]]:
    """Yield the name of every kind, and what its module says of it in its first line."""
    for name, kind in kinds().items():
        text = sys.modules[kind.__module__].__doc__ or ""
        yield name, text.partition("\n")[0].rstrip(".").replace("`", "")


def open_container(path: Path) -> tuple[str, Container]:
    """Return the kind of a file or folder of images, and its container; torch is not needed.

    Raises DataError for a path without images, listing the supported formats.
    """
    look = looked_at(path)
    for name, kind in kinds().items():
        if kind.takes(look):
            return name, kind(path)
    msg = (
        f"{path}: unknown or damaged; expected a folder or zip of images, an array file, a CIFAR or "
        "STL-10 archive, tar shards, Parquet or LMDB"
    )
    raise DataError(msg)


def names_in(folder: Path) -> Iterator[str]:
    """Yield the names in a folder, then those in its subfolders; hidden ones left out."""
    inside = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    yield from (entry.name for entry in inside)
    for entry in inside:
        if entry.is_dir():
            below = (p.name for p in entry.iterdir() if not p.name.startswith("."))
            yield from (f"{entry.name}/{name}" for name in sorted(below))


def looked_at(path: Path) -> Look:
    """Return what a container is recognized by; raises DataError for a missing or damaged path."""
    try:
        if path.is_dir():
            return Look(path, b"", tuple(itertools.islice(names_in(path), MOST_NAMES)))
        check_regular(path)
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
        if zipfile.is_zipfile(path) and not (head[:2] != ZIP and tarfile.is_tarfile(path)):
            with zipfile.ZipFile(path) as archive:
                return Look(path, head, tuple(archive.namelist()), is_zip=True)
        if tarfile.is_tarfile(path):
            with tarfile.open(path) as tar:
                files = (member.name for member in tar if member.isfile())
                return Look(path, head, tuple(itertools.islice(files, NAMES_READ)), is_tar=True)
    except FileNotFoundError:
        msg = f"{path}: no such file or folder; expected images"
        raise DataError(msg) from None
    except Exception as error:  # noqa: BLE001  # damaged archives raise anything
        msg = f"{path}: cannot be read ({first_line(error) or 'cut off'})"
        raise DataError(msg) from None
    return Look(path, head, ())
