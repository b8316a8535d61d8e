"""Works through trials that others may work through at the same time, here or on other machines."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sfbench.api.errors import DataError
from sfbench.hardware.devices import placement_of
from sfbench.hardware.living import lock_scope
from sfbench.hardware.places import Place
from sfbench.run.schedule import Given, Listener, Pending, job_of
from sfbench.store.claims import Claim, Claims
from sfbench.store.device_locks import device_lock
from sfbench.store.runs import Store, file_name, stem
from sfbench.store.whole_file import write_whole
from sfbench.values.case import Case
from sfbench.values.job import OPEN, SHARD_IMAGES, Job, Launcher
from sfbench.values.records import Record

POLL_SECONDS = 1.0
LAST_SECONDS = 1.0
"""Whoever ends a job as a whole may end a trial's process first: so long is the own end waited for."""
UNTIMED = frozenset({"quality"})
"""What may share a device with other work."""


def untold(_: Case) -> str:
    """Tell nothing apart."""
    return ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """One worker: where it stores and claims, how it starts trials, and on which device.

    `places`: the device of each kind. `told_apart`: what tells a case apart from others of its title.
    `most`: trials that it measures at most; `seconds`: after which it begins no other.
    """

    store: Store
    claims: Claims
    launcher: Launcher
    listener: Listener
    places: Mapping[str, Place]
    given: Given
    timeout_seconds: float
    told_apart: Callable[[Case], str] = untold
    most: int | None = None
    seconds: float | None = None

    def carry_out(self, trials: Sequence[Pending]) -> list[Record]:
        """Measure what is missing and return all records; those of trials of others, too.

        Each record is stored as soon as its trial ends. Waits for trials that others have claimed,
        and takes them over if their claims expire.
        """
        missing = [trial for trial in trials if trial.stored is None]
        self.listener.planned(len(missing), len(trials) - len(missing))
        stored = [trial.stored for trial in trials if trial.stored is not None]
        records = [*stored, *self.measured(missing)]
        self.sweep({stem(record.identity, record.trial) for record in records})
        return records

    def measured(self, missing: Sequence[Pending]) -> Iterator[Record]:
        """Yield the record of each trial, whoever measured it, as it comes."""
        began, measured = time.monotonic(), 0
        rested: dict[str, float] = {}
        left = list(missing)
        while left:
            before = len(left)
            for trial in tuple(left):
                if self.is_over(began, measured):
                    return
                record, mine = self.outcome(trial)
                if record is not None:
                    measured += mine
                    left.remove(trial)
                    yield record
            if len(left) == before and not self.helped(left, rested):
                self.wait(len(left), {trial.name for trial in left})

    def wait(self, left: int, names: Collection[str] | None = None) -> None:
        """Say what others do, with the claims of these names or with any, and wait a little."""
        holders = self.claims.holders()
        told = [one for one in holders if names is None or one.name in names]
        self.listener.waiting(left, told)
        time.sleep(POLL_SECONDS)

    def is_over(self, began: float, measured: int) -> bool:
        """Return whether no other trial may begin."""
        late = self.seconds is not None and time.monotonic() - began >= self.seconds
        return late or (self.most is not None and measured >= self.most)

    def outcome(self, trial: Pending) -> tuple[Record | None, bool]:
        """Return a trial's record and whether this worker measured it; None if it is others' now."""
        done = self.by_others(trial)
        if done is not None:
            return done, False
        alone = not UNTIMED.issuperset(trial.case.measure)
        device = self.places[trial.case.device].unique
        with device_lock(self.store.root, lock_scope(), device, alone=alone) as free:
            claim = self.claims.take(trial.name, self.title(trial)) if free else None
            if claim is None:
                return None, False
            with claim:
                # It may have been measured, and its claim released, since it was looked for.
                self.store.look_again()
                done = self.by_others(trial)
                if done is not None:
                    return done, False
                record = self.measure(trial, claim)
        return (record, True) if record is not None else (self.by_others(trial), False)

    def helped(self, left: Sequence[Pending], rested: dict[str, float]) -> bool:
        """Compute features for a large evaluation of another worker; return whether there was one.

        `rested`: until when each was helped enough. It is one whose parts are all taken, and parts
        come back only when a claim expires.
        """
        for trial in left:
            is_open = is_shared(trial) and (self.store.shards / trial.name / OPEN).exists()
            if not is_open or time.monotonic() < rested.get(trial.name, 0.0):
                continue
            device = self.places[trial.case.device].unique
            with device_lock(self.store.root, lock_scope(), device, alone=False) as free:
                if free:
                    self.listener.helping(trial.case, trial.trial)
                    job = dataclasses.replace(self.job(trial), task="help")
                    self.launcher(job, self.timeout_seconds, self.listener.event)
            rested[trial.name] = time.monotonic() + self.claims.lease_seconds
            return True
        return False

    def sweep(self, names: Collection[str]) -> None:
        """Remove what is left of trials that are done: claims of the dead, parts of evaluations."""
        self.claims.sweep(names)
        with contextlib.suppress(FileNotFoundError):
            for folder in self.store.shards.iterdir():
                if folder.name in names:
                    shutil.rmtree(folder, ignore_errors=True)

    def job(self, trial: Pending) -> Job:
        """Return the job of a trial on this worker's device."""
        return dataclasses.replace(
            job_of(trial, self.given, placement_of(self.places[trial.case.device])),
            pictures=str(self.store.root.absolute()),
            claims=str(self.claims.folder.absolute()),
            shards=str((self.store.shards / trial.name).absolute()),
        )

    def by_others(self, trial: Pending) -> Record | None:
        """Return the last record of a trial if others have stored this attempt, or None."""
        record, number = None, trial.attempt
        while found := self.store.attempt(trial.identity, trial.trial, number):
            record, number = found, number + 1
        if record is not None:
            self.listener.found(record)
        return record

    def title(self, trial: Pending) -> str:
        """Return a trial in a few words, with what tells it apart from others."""
        apart = self.told_apart(trial.case)
        return f"{trial.title} ({apart})" if apart else trial.title

    def measure(self, trial: Pending, claim: Claim) -> Record | None:
        """Measure a trial and store its record; None if another stored one meanwhile."""
        self.listener.started(trial.case, trial.trial)

        def on_event(event: Mapping[str, Any]) -> None:
            claim.say(str(event["phase"]))
            self.listener.event(event)

        if is_shared(trial):
            write_whole(made(self.store.shards / trial.name) / OPEN, "")
        record = self.launcher(self.job(trial), self.timeout_seconds, on_event)
        if record.status == "killed":
            time.sleep(LAST_SECONDS)
        # A claim that was lost meanwhile decides nothing: the first record of the attempt does.
        if self.store.link(record) is None:
            if self.store.attempt(trial.identity, trial.trial, trial.attempt) is None:
                msg = f"{self.store.runs / file_name(record)}: cannot be read; move it away"
                raise DataError(msg)
            return None
        shutil.rmtree(self.store.shards / trial.name, ignore_errors=True)
        self.listener.finished(record)
        return record


def is_shared(trial: Pending) -> bool:
    """Return whether other workers can compute parts of a trial."""
    return trial.case.samples > SHARD_IMAGES and "quality" in trial.case.measure


def made(folder: Path) -> Path:
    """Return a folder, made where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder
