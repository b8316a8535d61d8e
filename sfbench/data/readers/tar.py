"""Tar shards in the WebDataset form: KEY.jpg beside KEY.cls; read in order, nothing is unpacked."""

from __future__ import annotations

import itertools
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from sfbench.api.archives import MEMBER_LIMIT
from sfbench.api.errors import DataError
from sfbench.api.images import is_image_name
from sfbench.data.item import Item

CLASS_SUFFIX = ".cls"
NAMES_READ, MOST_MEMBERS = 64, 10_000


def member_names(path: Path) -> list[str]:
    """Return the names of the first files in a tar file."""
    found: list[str] = []
    with tarfile.open(path) as archive:
        for member in archive:
            found += [member.name] if member.isfile() else []
            if len(found) == NAMES_READ:
                break
    return found


def items(paths: Sequence[Path]) -> Iterator[Item]:
    """Yield the images of the shards, each with the class that lies beside it."""
    for path in paths:
        try:
            with tarfile.open(path) as archive:
                yield from of_archive(archive)
        except tarfile.TarError as error:
            msg = f"{path}: a damaged tar file ({error})"
            raise DataError(msg) from None


def of_archive(archive: tarfile.TarFile) -> Iterator[Item]:
    """Yield the images of one shard: files of one key stand together, in any order."""
    key, image, label = "", None, None
    for member in archive:
        if not member.isfile():
            continue
        path = PurePosixPath(member.name)
        if str(path.with_suffix("")) != key:
            if image is not None:
                yield image._replace(label=label)
            key, image, label = str(path.with_suffix("")), None, None
        if member.size > MEMBER_LIMIT:
            image = Item(member.name, b"", None, f"larger than {MEMBER_LIMIT >> 20} MiB")
        elif is_image_name(member.name):
            image = Item(member.name, content(archive, member))
        elif path.suffix == CLASS_SUFFIX:
            text = content(archive, member).strip()
            label = int(text) if text.isdigit() else None
    if image is not None:
        yield image._replace(label=label)


def content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    """Return a file's bytes; raises DataError for one over 256 MiB."""
    if member.size > MEMBER_LIMIT:
        msg = f"{member.name} has {member.size:,} bytes; expected at most {MEMBER_LIMIT:,}"
        raise DataError(msg)
    file = archive.extractfile(member)
    return b"" if file is None else file.read()


def members_named(archive: tarfile.TarFile, names: Sequence[str]) -> dict[str, tarfile.TarInfo]:
    """Return the files of these names, in whatever folder; only `MOST_MEMBERS` are looked at."""
    files = (member for member in itertools.islice(archive, MOST_MEMBERS) if member.isfile())
    named = ((PurePosixPath(member.name).name, member) for member in files)
    return {name: member for name, member in named if name in names}
