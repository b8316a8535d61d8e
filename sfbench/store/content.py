"""What a file or folder holds, as one digest: of whatever decides a number and is no image."""

from __future__ import annotations

import contextlib
import hashlib
import mmap
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from sfbench.api.errors import DataError, first_line
from sfbench.api.images import files_below, is_hidden
from sfbench.api.regular_files import check_regular

NAMING = frozenset({".onnx", ".json", ".xml"})
"""Files that keep tensors in other files beside them: named inside, or of the same stem."""


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content."""
    check_regular(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_sha256(path: Path) -> str:
    """Return the digest of a file with what it names beside it, or of everything in a folder.

    The name of the file or folder itself plays no part, those inside do. Hidden files and folders,
    and caches, are left out; links are followed. Raises DataError for a path that does not exist or
    cannot be read, or a folder that holds no file.
    """
    if not path.exists():
        msg = f"{path}: no such file or folder"
        raise DataError(msg)
    try:
        if path.is_dir():
            root, own, more = path, "", [one for one in files_below(path) if counts(one, path)]
        else:
            root, own, more = path.parent, file_sha256(path), companions(path)
        parts = [f"{one.relative_to(root).as_posix()}\0{file_sha256(one)}" for one in sorted(more)]
    except OSError as error:
        msg = f"{path}: {error.filename or 'it'} cannot be read ({first_line(error)})"
        raise DataError(msg) from None
    if not own and not parts:
        msg = f"{path}: an empty folder; expected files"
        raise DataError(msg)
    if not parts:
        return own
    whole = [f"\0{own}", *parts] if own else parts
    return hashlib.sha256("\n".join(whole).encode()).hexdigest()


def stamp_of(path: Path) -> str:
    """Return the digest of the names, sizes and times of a file, or of all files in a folder.

    It changes with their content, as far as the file system tells; nothing is read.
    """
    found = hashlib.sha256()
    below = (
        sorted(one for one in files_below(path) if counts(one, path)) if path.is_dir() else [path]
    )
    for one in below:
        with contextlib.suppress(OSError):  # a link that leads nowhere has a name only
            status = one.stat()
            found.update(f"{status.st_mtime_ns} {status.st_size} ".encode())
        found.update(f"{one.relative_to(path)}\0".encode(errors="surrogateescape"))
    return found.hexdigest()


def check_unchanged(path: Path, stamp: str | None) -> None:
    """Raise DataError if files have changed since they had a stamp; None: it was not taken."""
    if stamp is not None and stamp_of(path) != stamp:
        msg = f"{path}: its content changed while it was in use; nothing of it was kept: run again"
        raise DataError(msg)


def counts(path: Path, root: Path) -> bool:
    """Return whether a file or folder below a root is content, neither hidden nor a cache."""
    name = path.relative_to(root).as_posix()
    return not is_hidden(name) and "__pycache__" not in PurePosixPath(name).parts


def companions(path: Path) -> list[Path]:
    """Return the files that a file names, at any depth below its folder, or that share its stem."""
    if path.suffix.lower() not in NAMING or not path.stat().st_size:
        return []
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        named = set(named_below(path.parent, path.parent, content))
    beside = {one for one in path.parent.glob("*") if one.name.startswith(f"{path.stem}.")}
    return sorted(one for one in named | beside if one != path and one.is_file())


def named_below(folder: Path, root: Path, content: mmap.mmap) -> Iterator[Path]:
    """Yield the files of a folder whose path from the root stands in the content.

    Only folders that are named are entered: the root may be somebody's home.
    """
    for one in folder.iterdir():
        name = one.relative_to(root).as_posix().encode(errors="surrogateescape")
        if not counts(one, root) or content.find(name) < 0:
            continue
        if one.is_dir():
            yield from named_below(one, root, content)
        else:
            yield one
