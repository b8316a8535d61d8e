"""Reading zip files: damaged ones raise a one-line error, and zip bombs are refused unread."""

from __future__ import annotations

import contextlib
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from sfbench.api.errors import first_line
from sfbench.api.regular_files import check_regular

MEMBER_LIMIT = 1 << 28
MEMBER_FACTOR = 1100
"""No deflated file unpacks to more than 1,032 times its size; other methods could."""
MEMBER_FLOOR = 1 << 16

DAMAGE = (
    EOFError, KeyError, NotImplementedError, RuntimeError, UnicodeDecodeError,
    zipfile.BadZipFile, zlib.error, lzma.LZMAError,
)  # fmt: skip
"""What zipfile raises for damaged archives, passwords, and unknown compression methods."""


class ArchiveError(ValueError):
    """A zip file that is damaged or unpacks to more than is allowed."""


@contextlib.contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip file; errors inside the block are raised as ArchiveError in one line."""
    if path.is_dir():
        msg = "a folder; expected a zip file"
        raise ArchiveError(msg)
    try:
        check_regular(path)
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (OSError, *DAMAGE) as error:
        msg = f"a damaged zip file ({first_line(error)})"
        raise ArchiveError(msg) from None


def check_member(member: zipfile.ZipInfo, limit: int = MEMBER_LIMIT) -> None:
    """Raise ArchiveError for a member that unpacks to more than `limit` or its size allows."""
    allowed = min(limit, max(MEMBER_FACTOR * member.compress_size, MEMBER_FLOOR))
    if member.file_size > allowed:
        msg = (
            f"{member.filename} unpacks to {member.file_size:,} bytes; expected at most {allowed:,}"
        )
        raise ArchiveError(msg)


def read_member(archive: zipfile.ZipFile, name: str, limit: int = MEMBER_LIMIT) -> bytes:
    """Return a member's content; raises ArchiveError for one that `check_member` refuses."""
    member = archive.getinfo(name)
    check_member(member, limit)
    return archive.read(member)
