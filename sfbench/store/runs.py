"""results/: one immutable JSON file per trial, written atomically and never replaced.

One's own records are in `runs`; those of others in `published` (tracked with the code) and `imported`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from sfbench.api.errors import DataError, first_line
from sfbench.api.regular_files import check_regular
from sfbench.values.records import FINAL, Record, record_from_json, record_to_json

MOST_BYTES = 64 << 20
ROOM_BYTES = 1 << 20
"""What must fit on the disk before anything is measured."""
Origin = Literal["own", "published", "imported"]
FOLDERS: Mapping[Origin, str] = {"own": "runs", "published": "published", "imported": "imported"}
"""The folder of records of each origin."""
ORIGINS: Mapping[str, Origin] = {folder: origin for origin, folder in FOLDERS.items()}
OWN: tuple[Origin, ...] = ("own",)
ANY: tuple[Origin, ...] = tuple(FOLDERS)


@dataclasses.dataclass(frozen=True, slots=True)
class Unreadable:
    """A file in the store that is not a record this version reads, and why."""

    path: Path
    reason: str


class Store:
    """Records under `root`/runs, found by identity and trial."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.runs = root / "runs"
        self.claims = root / "claims"
        self.plans = root / "plans"
        self.shards = root / "shards"

    def prepare(self) -> None:
        """Create the folder, and check before any work that records can be stored in it.

        Raises DataError in one line when they cannot.
        """
        try:
            self.runs.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self.runs, suffix=".part")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(bytes(ROOM_BYTES))
                    file.flush()
                    os.fsync(handle)
                os.link(name, name + ".link")
                Path(name + ".link").unlink()
            finally:
                Path(name).unlink()
        except OSError as error:
            msg = (
                f"--store {self.root}: records cannot be stored there ({error}); choose a writable "
                "folder on a file system with hard links"
            )
            raise DataError(msg) from None

    def add(self, record: Record, origin: Origin = "own") -> Path:
        """Write the record and return its file; of two of one name, the second is a later attempt."""
        while (path := self.link(record, origin)) is None:
            record = dataclasses.replace(record, attempt=record.attempt + 1)
        return path

    def link(self, record: Record, origin: Origin = "own") -> Path | None:
        """Write the record and return its file; None if there is one for its attempt.

        The name is taken by linking a finished temporary file into place, which fails when the
        name exists: two writers never overwrite each other, and a reader never sees half a file.
        """
        folder = self.root / FOLDERS[origin]
        target = folder / file_name(record)
        # Its mode follows the umask, since a store may be shared.
        part = folder / f"{os.getpid()}-{secrets.token_hex(8)}.part"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with part.open("x", encoding="utf-8") as file:
                file.write(record_to_json(record))
                file.flush()
                os.fsync(file.fileno())
            os.link(part, target)
        except FileExistsError:
            # An answer that a network lost looks the same: then the file has both names.
            return target if part.stat().st_nlink > 1 else None
        except OSError as error:
            msg = f"{folder}: the record cannot be stored ({error.strerror or error}); make room"
            raise DataError(msg) from None
        finally:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
        return target

    def attempt(self, identity: str, trial: int, attempt: int) -> Record | None:
        """Return the record of one attempt, or None: cheap, however many records there are."""
        found = read(self.runs / f"{stem(identity, trial)}-a{attempt}.json")
        return found if isinstance(found, Record) and found.identity == identity else None

    def look_again(self) -> None:
        """Make a network file system ask its server again which records there are."""
        os.close(os.open(self.runs, os.O_RDONLY))

    def attempt_numbers(self) -> dict[str, list[int]]:
        """Return which attempts there are of each trial, by its `stem`; reads no record."""
        found: dict[str, list[int]] = {}
        with contextlib.suppress(FileNotFoundError):
            for entry in os.scandir(self.runs):
                name, mark, number = entry.name.removesuffix(".json").rpartition("-a")
                if mark and number.isdecimal() and entry.name.endswith(".json"):
                    found.setdefault(name, []).append(int(number))
        return {name: sorted(numbers) for name, numbers in found.items()}

    def attempts(
        self, identity: str, trial: int, numbers: Sequence[int] | None = None
    ) -> list[Record]:
        """Return every readable record of that identity and trial, oldest attempt first.

        `numbers`: which there are, where `attempt_numbers` was asked already.
        """
        if numbers is None:
            numbers = self.attempt_numbers().get(stem(identity, trial), ())
        found = (self.attempt(identity, trial, number) for number in numbers)
        return [record for record in found if record is not None]

    def settled(
        self, identity: str, trial: int, numbers: Sequence[int] | None = None
    ) -> Record | None:
        """Return the record that makes measuring again pointless, or None."""
        for record in reversed(self.attempts(identity, trial, numbers)):
            if record.status in FINAL:
                return record
        return None

    def load(self, origins: Sequence[Origin] = OWN) -> tuple[list[Record], list[Unreadable]]:
        """Return all records of these origins, oldest first, and the files that are not records.

        Identities of the records of others begin with their origin (see `read_of`).
        """
        records: list[Record] = []
        unreadable: list[Unreadable] = []
        for loaded in map(read_of, self.files(origins)):
            if isinstance(loaded, Record):
                records.append(loaded)
            else:
                unreadable.append(loaded)
        records.sort(key=lambda record: record.started)
        return records, unreadable

    def is_empty(self, origins: Sequence[Origin] = ANY) -> bool:
        """Return whether there is no file that could be a record of these origins."""
        found = (next(folder.glob("*.json"), None) for folder in self.folders(origins))
        return all(first is None for first in found)

    def files(self, origins: Sequence[Origin]) -> Iterator[Path]:
        """Yield the files of these origins that could be records."""
        for folder in self.folders(origins):
            yield from sorted(folder.glob("*.json"))

    def folders(self, origins: Sequence[Origin]) -> Iterator[Path]:
        """Yield the folder of each origin, whether it is there or not."""
        yield from (self.root / FOLDERS[origin] for origin in origins)


def file_name(record: Record) -> str:
    """Return the name of a record's file: identity, trial and attempt."""
    return f"{stem(record.identity, record.trial)}-a{record.attempt}.json"


def stem(identity: str, trial: int) -> str:
    """Return the name of a trial, with which the files of its records begin."""
    return f"{identity[:24]}-t{trial}"


def read_of(path: Path) -> Record | Unreadable:
    """Return the record in a store's file, as `read` does.

    The identity of a record of others begins with its origin: they never stand in for one's own.
    """
    found = read(path)
    origin = ORIGINS.get(path.parent.name, "own")
    if origin == "own" or isinstance(found, Unreadable):
        return found
    return dataclasses.replace(found, identity=f"{origin}:{found.identity}")


def origin_of(identity: str) -> Origin:
    """Return whose record an identity is of, as `read_of` returns it."""
    return ORIGINS.get(identity.partition(":")[0], "own")


def without_origin(record: Record) -> Record:
    """Return a record as its file holds it."""
    return dataclasses.replace(record, identity=record.identity.rpartition(":")[2])


def read(path: Path) -> Record | Unreadable:
    """Return the record in a file, or why it is unreadable."""
    try:
        if check_regular(path).st_size > MOST_BYTES:
            return Unreadable(path, f"over {MOST_BYTES >> 20} MiB; a record is smaller")
        return record_from_json(path.read_bytes())
    except (ValueError, OSError) as error:
        return Unreadable(path, first_line(error))
