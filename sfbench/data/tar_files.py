"""Files inside tar archives by their place, so that they can be read in any order."""

from __future__ import annotations

import contextlib
import itertools
import tarfile
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple, cast

from sfbench.api.archives import MEMBER_LIMIT
from sfbench.api.errors import DataError

MOST_MEMBERS = 10_000
CHUNK = 1 << 20


class Place(NamedTuple):
    """Where a file's bytes lie in the uncompressed archive."""

    name: str
    offset: int
    size: int

    @classmethod
    def of(cls, member: tarfile.TarInfo) -> Place:
        """Return the place of a member."""
        return cls(member.name, member.offset_data, member.size)


class OpenTar:
    """One archive, kept open."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with tar_errors(path):
            self.archive = tarfile.open(path)  # noqa: SIM115  # open as long as this object lives
        weakref.finalize(self, self.archive.close)

    def members(self) -> Iterator[tarfile.TarInfo]:
        """Yield everything but folders; tarfile's own list of it is not kept, it may be long.

        Raises DataError for an archive without an end mark: it was cut off, perhaps between files.
        """
        while (member := self.archive.next()) is not None:
            self.archive.members = []  # type: ignore[attr-defined]  # no public way
            if not member.isdir():
                yield member
        file = cast("IO[bytes]", self.archive.fileobj)
        file.seek(self.archive.offset)
        if not file.read(tarfile.BLOCKSIZE):
            msg = f"{self.path}: a tar file without its end mark: it was cut off; copy it again"
            raise DataError(msg)

    def goes_on(self) -> bool:
        """Return whether anything but zeros follows the end mark, once all members were seen."""
        file = cast("IO[bytes]", self.archive.fileobj)
        file.seek(self.archive.offset)
        while chunk := file.read(CHUNK):
            if chunk.strip(b"\0"):
                return True
        return False

    def close(self) -> None:
        """Close the archive."""
        self.archive.close()

    def read(self, place: Place, start: int = 0, size: int | None = None) -> bytes:
        """Return a file's bytes, or a part of them."""
        file = cast("IO[bytes]", self.archive.fileobj)
        file.seek(place.offset + start)
        return file.read(place.size - start if size is None else size)


@contextlib.contextmanager
def tar_errors(path: Path) -> Iterator[None]:
    """Raise what tarfile and decompressors say of a damaged archive as DataError in one line."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # noqa: BLE001  # damaged archives raise anything
        msg = f"{path}: a damaged tar file ({str(error) or type(error).__name__})"
        raise DataError(msg) from None


def content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    """Return a file's bytes; raises DataError for one over 256 MiB."""
    if member.size > MEMBER_LIMIT:
        msg = f"{member.name} has {member.size:,} bytes; expected at most {MEMBER_LIMIT:,}"
        raise DataError(msg)
    file = archive.extractfile(member)
    return b"" if file is None else file.read()


def members_named(archive: tarfile.TarFile, names: Sequence[str]) -> dict[str, tarfile.TarInfo]:
    """Return the files with these names, in any folder; only `MOST_MEMBERS` are examined."""
    files = (member for member in itertools.islice(archive, MOST_MEMBERS) if member.isreg())
    named = ((PurePosixPath(member.name).name, member) for member in files)
    return {name: member for name, member in named if name in names}
