"""Carries out a plan round by round: stored trials are not measured again."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from sfbench.catalogue.catalogue import Catalogue
from sfbench.run.identity import Identities, commit
from sfbench.store.runs import Store
from sfbench.values.case import Case
from sfbench.values.job import Job, Launcher
from sfbench.values.plan import Plan
from sfbench.values.records import Record, digest

SOFTWARE = frozenset({"versions", "environment"})
"""Facts of a machine that can change without making it another machine."""


class Listener(Protocol):
    """Receives events in the parent; never called while a block is timed."""

    def planned(self, missing: int, stored: int) -> None:
        """Receive the numbers of trials to measure and of those already stored."""
        ...

    def started(self, case: Case, trial: int) -> None:
        """A trial begins."""
        ...

    def event(self, event: Mapping[str, Any]) -> None:
        """The trial begins a phase, or has generated more images."""
        ...

    def finished(self, record: Record) -> None:
        """A trial is over and its record stored."""
        ...


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """One trial of the plan: its case, its identity, and its stored record if it has one."""

    case: Case
    trial: int
    identity: str
    machine: str
    plugin: str
    extractor_plugin: str | None
    attempt: int
    stored: Record | None


def machine_digest(machine: Mapping[str, Any]) -> str:
    """Return a twelve-digit identifier of the hardware."""
    return digest({name: machine[name] for name in machine if name not in SOFTWARE})[:12]


def pending_trials(
    plan: Plan, catalogue: Catalogue, store: Store, machine: Mapping[str, Any]
) -> list[Pending]:
    """Return every trial of the plan in execution order: rounds, each in a seeded random order."""
    identities = Identities(machine)
    extractors = {str(entry["name"]): entry for entry in catalogue.extractors}
    models = {case.model: catalogue.model(case.model) for case in plan.cases}
    hardware = machine_digest(machine)
    trials = []
    for trial in range(plan.trials):
        cases = list(plan.cases)
        random.Random(trial).shuffle(cases)  # noqa: S311  # an order, not a secret
        for case in cases:
            extractor = extractors.get(case.extractor.kind.partition(":")[0])
            name = identities.of(case, models[case.model], extractor)
            trials.append(
                Pending(
                    case=case,
                    trial=trial,
                    identity=name,
                    machine=hardware,
                    plugin=models[case.model].plugin,
                    extractor_plugin=None if extractor is None else str(extractor["plugin"]),
                    attempt=len(store.attempts(name, trial)),
                    stored=store.settled(name, trial),
                )
            )
    return trials


def carry_out(  # noqa: PLR0913  # every part is chosen by the caller
    trials: Sequence[Pending],
    store: Store,
    launcher: Launcher,
    listener: Listener,
    *,
    plugins: Sequence[str],
    disabled: Sequence[str],
    environment: Mapping[str, str],
    features: str,
    timeout_seconds: float,
) -> list[Record]:
    """Measure missing trials, store each record as soon as its trial ends, return all records."""
    missing = [trial for trial in trials if trial.stored is None]
    listener.planned(len(missing), len(trials) - len(missing))
    records = [trial.stored for trial in trials if trial.stored is not None]
    for trial in missing:
        listener.started(trial.case, trial.trial)
        job = job_of(
            trial, plugins=plugins, disabled=disabled, environment=environment, features=features
        )
        job = dataclasses.replace(job, pictures=str(store.root.absolute()))
        record = launcher(job, timeout_seconds, listener.event)
        store.add(record)
        records.append(record)
        listener.finished(record)
    return records


def job_of(
    trial: Pending,
    *,
    plugins: Sequence[str],
    disabled: Sequence[str],
    environment: Mapping[str, str],
    features: str,
) -> Job:
    """Return the job for the trial's process."""
    return Job(
        case=trial.case,
        identity=trial.identity,
        trial=trial.trial,
        attempt=trial.attempt,
        machine=trial.machine,
        plugin=trial.plugin,
        extractor_plugin=trial.extractor_plugin,
        plugins=tuple(plugins),
        disabled=tuple(disabled),
        environment=environment,
        features=features,
        commit=commit(),
    )
