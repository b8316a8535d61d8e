"""A worker and the trials it works through, for tests; and a listener that writes down what it hears."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from making import a_case, a_catalogue, a_model, a_record

from sfbench.hardware.devices import places
from sfbench.run.schedule import Given, Pending, pending_trials
from sfbench.run.work import Worker
from sfbench.store.claims import Claims, Holder
from sfbench.store.runs import Store
from sfbench.values.case import Case
from sfbench.values.job import Job, Launcher
from sfbench.values.plan import Plan
from sfbench.values.records import Record

MACHINE: Mapping[str, Any] = {"cpu": "x", "versions": {"python": "3.11.7"}, "environment": {}}
CASES = tuple(a_case(resolution=side) for side in (16, 32, 64, 128))
GIVEN = Given(
    plugins=["a.py"], disabled=["b"], environment={"OMP_NUM_THREADS": "1"}, features="kept"
)


class Heard:
    """Writes down what a listener is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def planned(self, missing: int, stored: int) -> None:
        self.told.append(("planned", missing, stored))

    def started(self, case: Case, trial: int) -> None:
        self.told.append(("started", case.resolution, trial))

    def event(self, event: Mapping[str, Any]) -> None:
        self.told.append(("event", event["phase"]))

    def finished(self, record: Record) -> None:
        self.told.append(("finished", record.status))

    def found(self, record: Record) -> None:
        self.told.append(("found", record.status))

    def helping(self, case: Case, trial: int) -> None:
        self.told.append(("helping", case.resolution, trial))

    def waiting(self, left: int, holders: Sequence[Holder]) -> None:
        self.told.append(("waiting", left, [one.name for one in holders]))


def a_worker(store: Store, launch: Launcher, heard: Heard, **changes: Any) -> Worker:
    given: dict[str, Any] = {
        "store": store,
        "claims": Claims(store.claims),
        "launcher": launch,
        "listener": heard,
        "places": {"cpu": places("cpu")[0]},
        "given": GIVEN,
        "timeout_seconds": 7.5,
    }
    return Worker(**given | changes)


def trials(store: Store, *, cases: tuple[Case, ...] = CASES, count: int = 1) -> list[Pending]:
    plan = Plan(cases=cases, trials=count)
    return pending_trials(plan, a_catalogue(a_model()), store, MACHINE)


def instant(job: Job, timeout: float, on_event: Callable[[Mapping[str, Any]], None]) -> Record:
    """Measure nothing, and say that all is well."""
    del timeout, on_event
    return a_record(identity=job.identity, trial=job.trial, attempt=job.attempt)
