"""results/: one immutable JSON file per trial, written atomically and never replaced."""

from __future__ import annotations

import dataclasses
import os
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sfbench.api.errors import DataError, first_line
from sfbench.api.regular_files import check_regular
from sfbench.values.records import FINAL, Record, record_from_json, record_to_json

MOST_BYTES = 64 << 20


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

    def prepare(self) -> None:
        """Create the folder, and check before any work that records can be stored in it.

        Raises DataError in one line when they cannot.
        """
        try:
            self.runs.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self.runs, suffix=".part")
            os.close(handle)
            try:
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

    def add(self, record: Record) -> Path:
        """Write the record and return its file.

        The name is claimed by linking a finished temporary file into place, which fails when the
        name exists: two writers never overwrite each other, and a reader never sees half a file.
        """
        self.runs.mkdir(parents=True, exist_ok=True)
        while True:
            target = self.path_of(record)
            # Its mode follows the umask, since a store may be shared.
            part = self.runs / f"{os.getpid()}-{secrets.token_hex(8)}.part"
            try:
                with part.open("x", encoding="utf-8") as file:
                    file.write(record_to_json(record))
                    file.flush()
                    os.fsync(file.fileno())
                os.link(part, target)
            except FileExistsError:
                record = dataclasses.replace(record, attempt=record.attempt + 1)
            else:
                return target
            finally:
                part.unlink(missing_ok=True)

    def path_of(self, record: Record) -> Path:
        """Return the file of a record: identity, trial and attempt."""
        name = f"{record.identity[:24]}-t{record.trial}-a{record.attempt}.json"
        return self.runs / name

    def attempts(self, identity: str, trial: int) -> list[Record]:
        """Return every readable record of that identity and trial, oldest attempt first."""
        found = []
        for path in sorted(self.runs.glob(f"{identity[:24]}-t{trial}-a*.json")):
            loaded = read(path)
            if isinstance(loaded, Record) and loaded.identity == identity:
                found.append(loaded)
        return sorted(found, key=lambda record: record.attempt)

    def settled(self, identity: str, trial: int) -> Record | None:
        """Return the record that makes measuring again pointless, or None."""
        for record in reversed(self.attempts(identity, trial)):
            if record.status in FINAL:
                return record
        return None

    def load(self) -> tuple[list[Record], list[Unreadable]]:
        """Return all records, oldest first, and the files that could not be read as records."""
        records: list[Record] = []
        unreadable: list[Unreadable] = []
        for loaded in self._read_all():
            if isinstance(loaded, Record):
                records.append(loaded)
            else:
                unreadable.append(loaded)
        records.sort(key=lambda record: record.started)
        return records, unreadable

    def is_empty(self) -> bool:
        """Return whether there is no file that could be a record."""
        return next(self._files(), None) is None

    def _files(self) -> Iterator[Path]:
        for folder in (self.root / "published", self.runs):
            yield from sorted(folder.glob("*.json"))

    def _read_all(self) -> Iterator[Record | Unreadable]:
        yield from map(read, self._files())


def read(path: Path) -> Record | Unreadable:
    """Return the record in a file, or why it is unreadable."""
    try:
        check_regular(path)
        if path.stat().st_size > MOST_BYTES:
            return Unreadable(path, f"over {MOST_BYTES >> 20} MiB; a record is smaller")
        return record_from_json(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        return Unreadable(path, first_line(error))
