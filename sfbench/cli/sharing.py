"""Behind `sfbench export` and `sfbench import`: records in one file, or sent to a service."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from sfbench.api.archives import ArchiveError, open_zip, read_member
from sfbench.api.errors import DataError, UsageError
from sfbench.cli import defaults
from sfbench.cli.exits import Exit
from sfbench.cli.measuring import on_device
from sfbench.cli.reporting import chosen, page_text
from sfbench.generators.loading import load_plugins
from sfbench.report import frame
from sfbench.report.measurements import measurements
from sfbench.report.pairing import paired
from sfbench.run.suites import read_suite, scales_of, suite_path
from sfbench.store.album import ABOUT, KINDS, albums, place
from sfbench.store.runs import ANY, Origin, Store, file_name, without_origin
from sfbench.store.whole_file import whole_file
from sfbench.values.messages import counted
from sfbench.values.paths import model_names
from sfbench.values.records import Record, record_from_json, record_to_json
from sfbench.values.sizes import parse_sizes

FOLDER, PAGE, TABLE, SUITE = "records", "report.html", "report.csv", "suite.toml"
ENVIRONMENT, FIGURES, PICTURES = "environment.json", "figures", "pictures"
SCHEME = r"[a-z][a-z0-9+-]+:"
"""The scheme of a target that is not a file; one letter is a drive."""
MEMBER_LIMIT = 1 << 26
"""Most bytes of one record (typically thousands) or picture; larger pictures are skipped."""
IDENTITY = re.compile(r"[0-9a-f]{64}")
NAMED = 3
"""Most folders named in a note."""
UNPACK_FACTOR, UNPACK_FLOOR = 100, 64 << 20
"""A bundle may unpack to at most max(factor times its size, floor) bytes."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to export from a store; None: everything. `suite`: a suite's records, and its file."""

    model: str | None
    res: str | None
    suite: str | None
    origins: tuple[Origin, ...]


def export(store: Path, target: str, wanted: Wanted, given: Sequence[str]) -> Exit:
    """Write a bundle, or send records where a plugin can (SCHEME:...); 5 when there are none."""
    records, unreadable = Store(store).load(wanted.origins)
    if unreadable:
        msg = f"{unreadable[0].path}: {unreadable[0].reason}; fix or remove it, then export"
        raise DataError(msg)
    newest, _ = frame.current(records)
    models = model_names(wanted.model) if wanted.model else []
    kept = chosen(newest, models, parse_sizes(wanted.res) if wanted.res else ())
    if wanted.suite is not None:
        kept = of_suite(wanted.suite, kept)
    if not kept:
        print(f"nothing to export from {store}")
        return Exit.NOTHING_MEASURED
    if re.match(SCHEME, target):
        print(sent(kept, target, given))
    else:
        write_bundle(store, kept, Path(target), wanted.suite)
    return Exit.OK


def sent(records: Sequence[Record], target: str, given: Sequence[str]) -> str:
    """Return a plugin's summary after sending the records; raises UsageError if none can."""
    documents = [json.loads(record_to_json(without_origin(record))) for record in records]
    able = defaults.catalogue(given, []).acting("sfbench_export")
    for plugin in load_plugins(able, given, [])[0]:
        told = plugin.export(records=documents, target=target) if plugin.export else None
        if told:
            return f"{target}: {told}"
    msg = f"{target}: no plugin exports to {target.partition(':')[0]}:; expected FILE.zip"
    raise UsageError(msg)


def write_bundle(store: Path, kept: Sequence[Record], target: Path, suite: str | None) -> None:
    """Write a bundle: records, page, table, figures, pictures."""
    try:
        with whole_file(target) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as bundle:
            for name, what in members(store, kept, suite):
                bundle.writestr(name, what)
            count = len(bundle.namelist())
    except OSError as error:
        msg = f"{target}: cannot be written ({error.strerror})"
        raise DataError(msg) from None
    print(f"{target}: {counted(len(kept), 'record')}, {PAGE}, {TABLE}; {count} files in all")


def of_suite(name: str, records: Sequence[Record]) -> list[Record]:
    """Return the records of a suite's rows at any scale and with any reference images."""
    from sfbench.cli.planning import records_of

    catalogue = defaults.catalogue([], [])
    rows = [row for scale in scales_of(name) for row in read_suite(name, scale).rows]
    placed = (dataclasses.replace(row, request=on_device(row.request)) for row in rows)
    found = [one for row in placed for one in records_of(row, records, catalogue, anywhere=True)]
    return list({content(record): record for record in found}.values())


def members(
    store: Path, records: Sequence[Record], suite: str | None
) -> Iterator[tuple[str, str | bytes]]:
    """Yield the name and content of every file of a bundle."""
    from sfbench.report.figures import figures  # altair and a renderer come with it
    from sfbench.report.machines import differences, machines

    for record in map(without_origin, records):
        yield f"{FOLDER}/{file_name(record)}", record_to_json(record)
    yield PAGE, page_text(records, store)
    found = measurements(records)
    yield TABLE, frame.as_csv(frame.tidy(found))
    about = {"machines": machines(records), "differences": differences(records)}
    yield ENVIRONMENT, json.dumps(about, indent=1)
    for number, figure in enumerate(figures(paired(frame.summary(found)), records), 1):
        yield f"{FIGURES}/{number}.json", figure.chart.to_json()
        yield f"{FIGURES}/{number}.svg", figure.svg()
        yield f"{FIGURES}/{number}.csv", frame.as_csv(figure.frame)
    if suite is not None:
        yield SUITE, suite_path(suite).read_text(encoding="utf-8")
    for one in albums(store, [record.case for record in records]):
        folder = one.pictures[0].path.parent
        for path in [folder / ABOUT, *(picture.path for picture in one.pictures)]:
            if path.stat().st_size <= MEMBER_LIMIT:
                yield f"{PICTURES}/{folder.name}/{path.name}", path.read_bytes()


def take_in(bundle: Path, store: Path) -> Exit:
    """Add a bundle's records and pictures to a store, apart from its own; existing ones are kept."""
    records, pictures = read_bundle(bundle)
    into = Store(store)
    into.prepare()
    there = {content(record) for record in into.load(ANY)[0]}
    new = [record for record in records if content(record) not in there]
    warn_of_others(new, into.load()[0])
    for record in new:
        into.add(record, "imported")
    hung = hang(pictures, store)
    told = f", pictures of {counted(hung, 'case')}" if hung else ""
    print(
        f"{store}: {counted(len(new), 'record')} added{told}, {len(records) - len(new)} already present"
    )
    shown = {place(store, record.case).name for record in into.load(ANY)[0]}
    alone = sorted(set(pictures) - shown)
    if alone:
        print(
            f"note: pictures of {counted(len(alone), 'model')} without a record are kept, but no page "
            f"shows them: {', '.join(alone[:NAMED])}{', ...' if len(alone) > NAMED else ''}",
            file=sys.stderr,
        )
    return Exit.OK


def warn_of_others(new: Sequence[Record], own: Sequence[Record]) -> None:
    """Say which records of a bundle are of a trial of one's own, and not what that measured."""
    mine = {(record.identity, record.trial) for record in own}
    count = sum((record.identity, record.trial) in mine for record in new)
    if count:
        told = f"{counted(count, 'record')} of the bundle"
        print(f"warning: {told}: not what your own record of the same trial says", file=sys.stderr)


def hang(pictures: Mapping[str, Mapping[str, bytes]], store: Path) -> int:
    """Write the albums that the store lacks; return how many."""
    count = 0
    for name, files in pictures.items():
        folder = store / PICTURES / name
        if folder.exists():
            continue
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Written aside, then moved: an interrupted import leaves no partial album.
        part = Path(tempfile.mkdtemp(dir=folder.parent))
        for file, content_ in files.items():
            (part / file).write_bytes(content_)
        part.chmod(folder.parent.stat().st_mode)
        part.rename(folder)
        count += 1
    return count


def content(record: Record) -> str:
    """Return a record's content regardless of its attempt number in a store."""
    return record_to_json(dataclasses.replace(without_origin(record), attempt=0))


def read_bundle(bundle: Path) -> tuple[list[Record], dict[str, dict[str, bytes]]]:
    """Return a bundle's records, and its pictures by album and name.

    Raises DataError for a damaged bundle; other files in it are ignored.
    """
    records: list[Record] = []
    pictures: dict[str, dict[str, bytes]] = {}
    try:
        with open_zip(bundle) as archive:
            left = max(UNPACK_FACTOR * bundle.stat().st_size, UNPACK_FLOOR)
            for entry in archive.infolist():
                parts = PurePosixPath(entry.filename).parts
                if parts[:1] not in {(FOLDER,), (PICTURES,)}:
                    continue
                left -= entry.file_size
                if left < 0:
                    msg = f"{bundle}: unpacks to over {UNPACK_FACTOR} times its size; refused"
                    raise DataError(msg)
                match parts:
                    case (folder, _) if folder == FOLDER:
                        records.append(
                            record_of(
                                bundle,
                                entry.filename,
                                read_member(archive, entry.filename, MEMBER_LIMIT),
                            )
                        )
                    case (_, name, file) if allowed(name, file):
                        pictures.setdefault(name, {})[file] = read_member(
                            archive, entry.filename, MEMBER_LIMIT
                        )
    except ArchiveError as error:
        msg = f"{bundle}: not a readable bundle ({error})"
        raise DataError(msg) from None
    if not records:
        msg = f"{bundle}: contains no records; expected a file written by sfbench export"
        raise DataError(msg)
    return records, pictures


def allowed(name: str, file: str) -> bool:
    """Return whether a picture has a valid place in an album."""
    known = {ABOUT, *(f"{kind}.png" for kind in KINDS)}
    return file in known and re.fullmatch(r"[A-Za-z0-9._-]+", name) is not None and name != ".."


def record_of(bundle: Path, name: str, content: bytes) -> Record:
    """Return a bundle's record; raises DataError for an invalid one.

    Identity, trial and attempt become part of a file name, so they are validated.
    """
    try:
        record = record_from_json(content.decode())
        measurements([record])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        msg = f"{bundle}: {name}: not a record ({error})"
        raise DataError(msg) from None
    counts = (record.trial, record.attempt)
    sound = IDENTITY.fullmatch(str(record.identity)) and all(
        type(n) is int and n >= 0 for n in counts
    )
    if not sound:
        msg = f"{bundle}: {name}: not a record (invalid identity, trial or attempt)"
        raise DataError(msg)
    return record
