"""How a plan stands, from its store alone: what is done, running, claimed and stale, failed, left."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from sfbench.run.plan_file import PlanDocument, without
from sfbench.store.claims import Claims, Holder
from sfbench.store.runs import Store, read
from sfbench.values.records import FINAL, Record

RECENT = 20
"""The pace is that of so many trials, the last ones."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a plan stands. `done`: records that settle a trial; `failed`: those that do not.

    `running` and `stale`: claims, of this plan or of all. `left`: trials without a record and
    without a claim, None where there is no plan. `seconds_left`: None while nothing is finished.
    """

    total: int | None
    done: list[Record]
    failed: list[Record]
    running: list[Holder]
    stale: list[Holder]
    left: int | None
    seconds_left: float | None

    @property
    def is_over(self) -> bool:
        """Return whether every trial has a record and nobody works on one."""
        return not self.left and not self.running and not self.stale

    @property
    def is_settled(self) -> bool:
        """Return whether no trial would be measured again."""
        return self.is_over and not self.failed


class Follower:
    """Reads a store again and again; a record is read once."""

    def __init__(self, store: Store, name: str = "", document: PlanDocument | None = None) -> None:
        self.store = store
        self.name = name
        self.document = document
        self.read: dict[Path, Record] = {}
        self.wanted: dict[tuple[str, ...], set[str]] = {}
        for planned in document["cases"] if document else ():
            keys = self.wanted.setdefault(tuple(planned["open"]), set())
            keys.add(without(planned["inputs"], planned["open"]))

    def look(self) -> list[Record]:
        """Return the plan's records that came since the last call, the earliest first."""
        self.store.look_again()
        found = []
        for path in self.store.files(("own",)):
            if path in self.read:
                continue
            record = read(path)
            if isinstance(record, Record):
                self.read[path] = record
                found.append(record)
        return sorted(filter(self.is_planned, found), key=lambda record: record.started)

    def is_planned(self, record: Record) -> bool:
        """Return whether a record is of a case of the plan; every one where there is none."""
        if self.document is None:
            return True
        matches = any(without(record.case, names) in keys for names, keys in self.wanted.items())
        return matches and record.trial < self.document["trials"]

    def standing(self) -> Standing:
        """Return how the plan stands, by the records seen so far and the claims of now."""
        records = self.latest()
        done = [record for record in records if record.status in FINAL]
        failed = [record for record in records if record.status not in FINAL]
        holders = [
            holder
            for holder in Claims(self.store.claims).holders()
            if self.document is None or holder.owner.get("plan") == self.name
        ]
        running = [holder for holder in holders if not holder.expired]
        stale = [holder for holder in holders if holder.expired]
        total = None if self.document is None else self.total()
        measured = len(done) + len(failed)
        left = None if total is None else max(0, total - measured - len(holders))
        return Standing(
            total=total,
            done=done,
            failed=failed,
            running=running,
            stale=stale,
            left=left,
            seconds_left=seconds_left(done, total, len(running)),
        )

    def total(self) -> int:
        """Return how many trials the plan has."""
        assert self.document is not None  # noqa: S101  # only asked where there is one
        return len(self.document["cases"]) * self.document["trials"]

    def latest(self) -> list[Record]:
        """Return the last attempt of each trial of the plan, in the order of their start."""
        found: dict[tuple[str, int], Record] = {}
        for record in sorted(self.read.values(), key=lambda record: record.attempt):
            if self.is_planned(record):
                found[record.identity, record.trial] = record
        return sorted(found.values(), key=lambda record: record.started)


def seconds_left(done: Sequence[Record], total: int | None, workers: int) -> float | None:
    """Return the time until a plan is done: the pace of its last trials, by so many workers."""
    if total is None or not done:
        return None
    ended = sorted(done, key=lambda record: datetime.fromisoformat(record.started))[-RECENT:]
    each = sum(record.seconds for record in ended) / len(ended)
    return each * max(0, total - len(done)) / max(1, workers)
