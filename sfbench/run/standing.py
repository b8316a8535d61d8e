"""How a plan stands, from its store alone: what is done, running, claimed and stale, failed, left.

Which trials a plan makes depends on the place: on its code, packages and kind of machine. So each
worker writes down, when it begins, which they are; what is done is counted among those.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from sfbench.api.errors import DataError
from sfbench.run.schedule import Pending
from sfbench.store.claims import Claims, Holder
from sfbench.store.runs import Store, read, stem
from sfbench.store.whole_file import write_whole
from sfbench.values.documents import read_document
from sfbench.values.records import FINAL, Record, digest

RECENT = 20
"""The pace is that of so many trials, the last ones."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a plan stands. `done`: records that settle a trial; `failed`: those that do not.

    `total`: trials of the plan, None where there is none; `begun`: whether a worker has begun.
    `running` and `stale`: claims of what is not done. `left`: trials without a record and without a
    claim. `seconds_left`: None while nothing is finished.
    """

    total: int | None
    done: list[Record]
    failed: list[Record]
    running: list[Holder]
    stale: list[Holder]
    left: int | None
    seconds_left: float | None
    begun: bool = True

    @property
    def missing(self) -> int:
        """The number of trials without a record, whether somebody works on them or not."""
        return (self.total or 0) - len(self.done) - len(self.failed)

    @property
    def is_over(self) -> bool:
        """Return whether every trial has a record and nobody works on one."""
        return self.missing <= 0 and not self.running and not self.stale


def trials_folder(store: Store, plan: str) -> Path:
    """Return where workers write down which trials a plan makes."""
    return store.plans / f"{plan}.trials"


def write_trials(store: Store, plan: str, trials: Sequence[Pending]) -> None:
    """Write down which trials a plan makes here; equal ones have one file."""
    names = {trial.name: trial.case.title() for trial in trials}
    folder = trials_folder(store, plan)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / f"{digest(sorted(names))[:12]}.json", json.dumps(names, indent=0))
    except OSError as error:
        msg = (
            f"{folder}: cannot be written ({error.strerror or error}); who shares a store needs "
            "write permission in all its folders (umask 002)"
        )
        raise DataError(msg) from None


class Follower:
    """Reads a store again and again; a record is read once.

    Of the trials that workers wrote down, those count that were written since `since` (nanoseconds
    of the file system's clock), or else the last ones; before any worker has begun there are
    `planned` of them. Without a plan every record counts.
    """

    def __init__(
        self, store: Store, plan: str = "", since: int | None = None, planned: int | None = None
    ) -> None:
        self.store = store
        self.plan = plan
        self.planned = planned
        self.since = since
        self.read: dict[Path, Record] = {}
        self.told: set[Path] = set()

    def look(self) -> list[Record]:
        """Return the plan's records that came since the last call, the earliest first."""
        with contextlib.suppress(FileNotFoundError):
            self.store.look_again()
        for path in self.store.files(("own",)):
            if path not in self.read:
                record = read(path)
                if isinstance(record, Record):
                    self.read[path] = record
        names = self.names()
        new = {
            path: record
            for path, record in self.read.items()
            if path not in self.told and is_of(record, names)
        }
        self.told |= new.keys()
        return sorted(new.values(), key=lambda record: record.started)

    def names(self) -> Mapping[str, str] | None:
        """Return the plan's trials by name, with titles; None without a plan."""
        if not self.plan:
            return None
        folder = trials_folder(self.store, self.plan)
        files = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
        if self.since is None:
            files = files[-1:]
        else:
            files = [path for path in files if path.stat().st_mtime_ns >= self.since]
        found: dict[str, str] = {}
        for path in files:
            found |= read_document(path.read_bytes(), dict[str, str])
        return found

    def standing(self) -> Standing:
        """Return how the plan stands, by the records seen so far and the claims of now."""
        names = self.names()
        latest = self.latest(names)
        done = [record for record in latest.values() if record.status in FINAL]
        failed = [record for record in latest.values() if record.status not in FINAL]
        over = {name for name, record in latest.items() if record.status in FINAL}
        holders = [
            holder
            for holder in Claims(self.store.claims).holders()
            if holder.name not in over and self.is_mine(holder, names)
        ]
        running = [holder for holder in holders if not holder.expired]
        total = len(names) if names else self.planned
        claimed = {holder.name for holder in holders} - latest.keys()
        known = claimed & (names or {}).keys()
        left = None if total is None else total - len(latest) - len(known)
        return Standing(
            total=total,
            done=done,
            failed=failed,
            running=running,
            stale=[holder for holder in holders if holder.expired],
            left=left,
            seconds_left=seconds_left(done, total, len(running)),
            begun=names is None or bool(names),
        )

    def is_mine(self, holder: Holder, names: Mapping[str, str] | None) -> bool:
        """Return whether a claim is of the plan: of its trials, or of what goes before them."""
        return names is None or holder.name in names or holder.owner.get("plan") == self.plan

    def latest(self, names: Mapping[str, str] | None) -> dict[str, Record]:
        """Return the last attempt of each trial, by name, in the order of their start."""
        found: dict[str, Record] = {}
        for record in sorted(self.read.values(), key=lambda record: record.attempt):
            if is_of(record, names):
                found[stem(record.identity, record.trial)] = record
        return dict(sorted(found.items(), key=lambda pair: pair[1].started))


def is_of(record: Record, names: Mapping[str, str] | None) -> bool:
    """Return whether a record is of one of these trials, or of any."""
    return names is None or stem(record.identity, record.trial) in names


def seconds_left(done: Sequence[Record], total: int | None, workers: int) -> float | None:
    """Return the time until a plan is done: the pace of its last trials, by so many workers."""
    if total is None or not done:
        return None
    ended = sorted(done, key=lambda record: datetime.fromisoformat(record.started))[-RECENT:]
    each = sum(record.seconds for record in ended) / len(ended)
    return each * max(0, total - len(done)) / max(1, workers)


def plans_of(store: Store) -> Iterator[str]:
    """Yield the plans that workers of a store have begun, the last one last."""
    folders = sorted(store.plans.glob("*.trials"), key=lambda path: path.stat().st_mtime_ns)
    for folder in folders:
        yield folder.name.removesuffix(".trials")
