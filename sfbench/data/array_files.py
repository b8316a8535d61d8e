"""Reading .npy and .npz files: nothing is unpickled, and headers are checked before allocation."""

from __future__ import annotations

import contextlib
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from sfbench.api.archives import check_member, open_zip
from sfbench.api.errors import first_line
from sfbench.api.regular_files import check_regular

MAGIC = b"\x93NUMPY"
SUFFIX = ".npy"
MEMBER_LIMIT = 1 << 40
"""Arrays may be large: what bounds them is the size of the file."""
KINDS = "biufUS"


class ArrayFileError(ValueError):
    """A file that cannot be read as arrays of numbers or text."""


@contextlib.contextmanager
def array_errors() -> Iterator[None]:
    """Raise errors of numpy and zipfile about damaged files as ArrayFileError in one line."""
    try:
        yield
    except FileNotFoundError:
        raise
    except Exception as error:  # noqa: BLE001  # damaged headers raise anything
        raise ArrayFileError(first_line(error)) from None


def map_array(path: Path) -> NDArray[Any]:
    """Return the array of a .npy file, memory-mapped; raises ArrayFileError."""
    with array_errors():
        check_regular(path)
        with path.open("rb") as file:
            check_header(file, path.stat().st_size)
        found: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        return found


def array_names(path: Path) -> list[str]:
    """Return the names of the arrays of an .npz file; raises ArrayFileError."""
    with array_errors(), open_zip(path) as archive:
        return [name.removesuffix(SUFFIX) for name in archive.namelist() if name.endswith(SUFFIX)]


def read_arrays(path: Path, *names: str) -> dict[str, NDArray[Any]]:
    """Return those of the named arrays that an .npz file has; without names, all.

    Raises ArrayFileError, and FileNotFoundError if there is no file.
    """
    with array_errors(), open_zip(path) as archive:
        there = {m.filename.removesuffix(SUFFIX): m for m in archive.infolist()}
        return {
            name: read_member_array(archive, there[name])
            for name in (names or there)
            if name in there
        }


def read_member_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    """Return one array of an archive."""
    check_member(member, MEMBER_LIMIT)
    with archive.open(member) as file:
        check_header(file, member.file_size)
    with archive.open(member) as file:
        found: NDArray[Any] = npy.read_array(file, allow_pickle=False)
        return found


def check_header(file: IO[bytes], size: int) -> None:
    """Raise ValueError if a file of that many bytes does not match its header."""
    version = npy.read_magic(file)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read(file)
    if dtype.kind not in KINDS or not dtype.itemsize or any(side < 0 for side in shape):
        msg = f"an array of {dtype} {shape}; expected numbers"
        raise ValueError(msg)
    expected = file.tell() + math.prod(shape) * dtype.itemsize
    if size != expected:
        msg = f"an array {dtype} {shape} in {size:,} bytes; expected {expected:,}"
        raise ValueError(msg)
