"""The trials of a plan, round by round: which are stored, and the jobs of those that are not."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from sfbench.catalogue.catalogue import Catalogue
from sfbench.run.identity import Identities, commit
from sfbench.store.claims import Holder
from sfbench.store.runs import Store, stem
from sfbench.values.case import Case
from sfbench.values.job import ANYWHERE, Job, Placement
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

    def found(self, record: Record) -> None:
        """Another worker measured a trial."""
        ...

    def helping(self, case: Case, trial: int) -> None:
        """Features are computed for a trial of another worker."""
        ...

    def waiting(self, left: int, holders: Sequence[Holder]) -> None:
        """Nothing can be taken: `left` trials are others', or wait for a device that is in use."""
        ...


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What every process of a run is given: plugins, environment, the folder of features."""

    plugins: Sequence[str] = ()
    disabled: Sequence[str] = ()
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    features: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """One trial of the plan: its case, its identity, and its stored record if it has one.

    `attempt`: the number of the next record.
    """

    case: Case
    trial: int
    identity: str
    machine: str
    plugin: str
    extractor_plugin: str | None
    attempt: int
    stored: Record | None

    @property
    def name(self) -> str:
        """The trial's name in the store."""
        return stem(self.identity, self.trial)

    @property
    def title(self) -> str:
        """The trial in a few words: case, measures, and its number from the second on."""
        number = f" trial {self.trial + 1}" if self.trial else ""
        return f"{self.case.title()}: {', '.join(self.case.measure)}{number}"


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
    numbers = store.attempt_numbers()
    trials = []
    for trial in range(plan.trials):
        cases = list(plan.cases)
        random.Random(trial).shuffle(cases)  # noqa: S311  # an order, not a secret
        for case in cases:
            extractor = extractors.get(case.extractor.kind.partition(":")[0])
            name = identities.of(case, models[case.model], extractor)
            known = numbers.get(stem(name, trial), ())
            trials.append(
                Pending(
                    case=case,
                    trial=trial,
                    identity=name,
                    machine=hardware,
                    plugin=models[case.model].plugin,
                    extractor_plugin=None if extractor is None else str(extractor["plugin"]),
                    attempt=max(known, default=-1) + 1,
                    stored=store.settled(name, trial, known),
                )
            )
    return trials


def job_of(trial: Pending, given: Given, placement: Placement = ANYWHERE) -> Job:
    """Return the job for the trial's process."""
    return Job(
        case=trial.case,
        identity=trial.identity,
        trial=trial.trial,
        attempt=trial.attempt,
        machine=trial.machine,
        plugin=trial.plugin,
        extractor_plugin=trial.extractor_plugin,
        plugins=tuple(given.plugins),
        disabled=tuple(given.disabled),
        environment=given.environment,
        features=given.features,
        commit=commit(),
        placement=placement,
    )
