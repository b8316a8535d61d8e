"""Files with their stamps: how a change is noticed without reading them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def unchanged(files: Mapping[str, list[int]]) -> bool:
    """Return whether files have the stamps they had."""
    try:
        return all(stamp(Path(path)) == was for path, was in files.items())
    except OSError:
        return False


def stamp(path: Path) -> list[int]:
    """Return a file's modification time and size, to detect changes."""
    status = path.stat()
    return [status.st_mtime_ns, status.st_size]
