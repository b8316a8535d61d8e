"""What a file or folder holds, as one digest: of whatever decides a number and is no image."""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Iterator
from pathlib import Path

from sfbench.api.errors import DataError

LEFT_OUT = frozenset({"__pycache__", "__MACOSX", "@eaDir"})
NAMING = frozenset({".onnx", ".json", ".xml"})
"""Files that keep tensors in other files beside them: named inside, or of the same stem."""


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_sha256(path: Path) -> str:
    """Return the digest of a file with what it names beside it, or of everything in a folder.

    The name of the file or folder itself plays no part, those inside do. Hidden files and folders,
    and caches, are left out; links are followed. Raises DataError for a path that does not exist,
    or a folder that holds no file.
    """
    if not path.exists():
        msg = f"{path}: no such file or folder"
        raise DataError(msg)
    if path.is_file():
        more = sorted(companions(path)) if path.suffix.lower() in NAMING else []
        if not more:
            return file_sha256(path)
        root, found = path.parent, [*more]
        parts = [f"\0{file_sha256(path)}"]
    else:
        root, found, parts = path, sorted(files_below(path)), []
        if not found:
            msg = f"{path}: an empty folder; expected files"
            raise DataError(msg)
    parts += [f"{file.relative_to(root).as_posix()}\0{file_sha256(file)}" for file in found]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def files_below(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder and its subfolders, links followed, each folder once."""
    seen: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        folders[:] = [] if real in seen else [name for name in folders if is_content(name)]
        if real not in seen:
            yield from (Path(place, name) for name in names if is_content(name))
        seen.add(real)


def is_content(name: str) -> bool:
    """Return whether a file or folder of this name counts."""
    return not name.startswith(".") and name not in LEFT_OUT


def companions(path: Path) -> Iterator[Path]:
    """Yield the files below a file's folder that it names, and those beside it of its stem."""
    if not path.stat().st_size:
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for other in files_below(path.parent):
            if other == path or not other.is_file():
                continue
            beside = other.parent == path.parent and other.name.startswith(f"{path.stem}.")
            name = other.relative_to(path.parent).as_posix().encode(errors="surrogateescape")
            if beside or content.find(name) >= 0:
                yield other
