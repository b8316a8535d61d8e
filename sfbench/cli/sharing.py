"""Behind `sfbench export` and `sfbench import`: records in one file that others can look at."""

from __future__ import annotations

import dataclasses
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from sfbench.api.errors import DataError
from sfbench.cli.exits import Exit
from sfbench.cli.reporting import chosen, page_text
from sfbench.plan import parse_resolutions
from sfbench.records import Record, record_from_json, record_to_json
from sfbench.report import frame
from sfbench.report.measurements import measurements
from sfbench.store import Store

FOLDER, PAGE, TABLE = "records", "report.html", "report.csv"
MEMBER_LIMIT = 1 << 24
"""Bytes of one record; they have thousands."""


def export(store: Path, target: Path, model: str | None, res: str | None) -> Exit:
    """Write a bundle: records, their page and their table; 5 when there is nothing to put in."""
    records, unreadable = Store(store).load()
    if unreadable:
        msg = f"{unreadable[0].path}: {unreadable[0].reason}; mend or remove it, then export"
        raise DataError(msg)
    newest, _ = frame.current(records)
    models = model.split(",") if model else []
    kept = chosen(newest, models, parse_resolutions(res) if res else ())
    if not kept:
        print(f"nothing to export from {store}")
        return Exit.NOTHING_MEASURED
    part = target.with_name(target.name + ".part")
    try:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as bundle:
            for record in kept:
                name = f"{record.identity[:24]}-t{record.trial}-a{record.attempt}.json"
                bundle.writestr(f"{FOLDER}/{name}", record_to_json(record))
            bundle.writestr(PAGE, page_text(kept, store))
            bundle.writestr(TABLE, frame.tidy(measurements(kept)).to_csv(index=False))
        part.replace(target)
    except OSError as error:
        part.unlink(missing_ok=True)
        msg = f"{target}: cannot be written ({error.strerror})"
        raise DataError(msg) from None
    print(f"{target}: {len(kept)} records, {PAGE}, {TABLE}")
    return Exit.OK


def take_in(bundle: Path, store: Path) -> Exit:
    """Add a bundle's records to a store; what is there already is left as it is."""
    into = Store(store)
    into.prepare()
    there = {content(record) for record in into.load()[0]}
    records = list(read_bundle(bundle))
    new = [record for record in records if content(record) not in there]
    for record in new:
        into.add(record)
    print(f"{store}: {len(new)} records added, {len(records) - len(new)} were there already")
    return Exit.OK


def content(record: Record) -> str:
    """Return what a record says, whichever attempt of its trial it counts as in a store."""
    return record_to_json(dataclasses.replace(record, attempt=0))


def read_bundle(bundle: Path) -> Iterator[Record]:
    """Yield a bundle's records; raises DataError before any for one that is damaged."""
    try:
        with zipfile.ZipFile(bundle) as archive:
            members = [
                entry
                for entry in archive.infolist()
                if PurePosixPath(entry.filename).parent == PurePosixPath(FOLDER)
            ]
            large = [entry.filename for entry in members if entry.file_size > MEMBER_LIMIT]
            if large or not members:
                found = f"{large[0]} is too large for a record" if large else "no records in it"
                msg = f"{bundle}: {found}; expected a file of sfbench export"
                raise DataError(msg)
            texts = [(entry.filename, archive.read(entry)) for entry in members]
    except (OSError, zipfile.BadZipFile) as error:
        msg = f"{bundle}: not a readable bundle ({error})"
        raise DataError(msg) from None
    records = []
    for name, content in texts:
        try:
            records.append(record_from_json(content.decode()))
        except ValueError as error:
            msg = f"{bundle}: {name}: {error}"
            raise DataError(msg) from None
    yield from records
