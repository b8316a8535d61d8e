"""What is stored is not measured again, and every record is stored as soon as its trial ends."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from making import a_case, a_catalogue, a_model, a_record
from working import CASES, GIVEN, MACHINE, Heard, a_worker, trials

from sfbench.run.identity import Identities, commit
from sfbench.run.schedule import Pending, job_of, machine_digest, pending_trials
from sfbench.store.claims import Claims
from sfbench.store.runs import Store
from sfbench.values.case import Source
from sfbench.values.job import Job
from sfbench.values.plan import Plan
from sfbench.values.records import Record

pytestmark = pytest.mark.fast


def recorded(trial: Pending, **changes: Any) -> Record:
    return a_record(identity=trial.identity, trial=trial.trial, **changes)


def test_each_round_holds_every_case_once_in_an_order_of_its_own(tmp_path: Path) -> None:
    found = trials(Store(tmp_path), count=3)
    assert [trial.trial for trial in found] == [0] * 4 + [1] * 4 + [2] * 4
    rounds = [[t.case.resolution for t in found if t.trial == number] for number in range(3)]
    assert all(sorted(one) == [16, 32, 64, 128] for one in rounds)
    assert len({tuple(one) for one in rounds}) > 1
    assert rounds == [
        [t.case.resolution for t in trials(Store(tmp_path), count=3) if t.trial == number]
        for number in range(3)
    ]


def test_a_trial_bears_its_identity_plugin_and_machine(tmp_path: Path) -> None:
    (trial,) = trials(Store(tmp_path), cases=CASES[:1])
    assert trial.identity == Identities(MACHINE).of(CASES[0], a_model())
    assert trial.plugin == "p"
    assert trial.machine == machine_digest(MACHINE)
    assert (trial.attempt, trial.stored) == (0, None)


def test_an_extractor_of_a_plugin_is_part_of_the_identity(tmp_path: Path) -> None:
    case = a_case(measure=("quality",), extractor=Source(kind="mine:small"))
    catalogue = a_catalogue(a_model())
    names = []
    for code in ("1", "2"):
        entry = {"name": "mine", "plugin": "p", "code_sha256": code, "packages": []}
        known = dataclasses.replace(catalogue, extractors=(entry,))
        (trial,) = pending_trials(Plan(cases=(case,)), known, Store(tmp_path), MACHINE)
        names.append(trial.identity)
    assert names[0] != names[1]


def test_the_machine_is_its_hardware() -> None:
    plain = machine_digest(MACHINE)
    assert len(plain) == 12
    assert machine_digest({**MACHINE, "versions": {}, "environment": {"A": "1"}}) == plain
    assert machine_digest({**MACHINE, "cpu": "y"}) != plain


def test_two_machines_of_one_kind_are_told_apart_and_share_what_is_measured() -> None:
    one, other = ({**MACHINE, "host": name} for name in ("a" * 12, "b" * 12))
    assert machine_digest(one) != machine_digest(other)
    names = {Identities(facts).of(CASES[0], a_model()) for facts in (MACHINE, one, other)}
    assert len(names) == 1


def test_what_is_settled_is_found_and_what_failed_is_tried_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first, second, third, fourth = trials(store)
    store.add(recorded(first, status="ok"))
    store.add(recorded(second, status="oom", reason="no room"))
    for _ in range(2):
        store.add(recorded(third, status="killed", reason="SIGKILL"))
    store.add(recorded(dataclasses.replace(fourth, trial=1)))
    found = trials(store)
    assert [None if one.stored is None else one.stored.status for one in found] == [
        "ok",
        "oom",
        None,
        None,
    ]
    assert [one.attempt for one in found] == [1, 1, 2, 0]


def test_a_job_says_all_that_a_process_has_to_know(tmp_path: Path) -> None:
    (trial,) = trials(Store(tmp_path), cases=CASES[:1])
    job = job_of(dataclasses.replace(trial, trial=2, attempt=3), GIVEN)
    assert job == Job(
        case=CASES[0],
        identity=trial.identity,
        trial=2,
        attempt=3,
        machine=trial.machine,
        plugin="p",
        plugins=("a.py",),
        disabled=("b",),
        environment={"OMP_NUM_THREADS": "1"},
        features="kept",
        commit=commit(),
    )


def test_only_what_is_missing_is_launched_and_each_record_is_stored_at_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    asked = trials(store, cases=CASES[:3])
    store.add(recorded(asked[1], status="ok"))
    asked = trials(store, cases=CASES[:3])
    launched: list[Job] = []

    def launch(job: Job, timeout: float, on_event: Callable[[Mapping[str, Any]], None]) -> Record:
        assert timeout == 7.5
        assert len(store.load()[0]) == 1 + len(launched)  # the one before is stored already
        launched.append(job)
        on_event({"phase": "build"})
        return a_record(identity=job.identity, trial=job.trial)

    heard = Heard()
    records = a_worker(store, launch, heard).carry_out(asked)
    assert [job.case for job in launched] == [asked[0].case, asked[2].case]
    assert {job.pictures for job in launched} == {str(tmp_path.absolute())}
    assert all(job.environment == GIVEN.environment for job in launched)
    assert {(job.features, job.plugins, job.disabled) for job in launched} == {
        ("kept", ("a.py",), ("b",))
    }
    assert sorted(r.identity for r in records) == sorted(t.identity for t in asked)
    assert len(store.load()[0]) == 3
    first, last = asked[0].case.resolution, asked[2].case.resolution
    assert heard.told == [
        ("planned", 2, 1),
        ("started", first, 0),
        ("event", "build"),
        ("finished", "ok"),
        ("started", last, 0),
        ("event", "build"),
        ("finished", "ok"),
    ]
    again = a_worker(store, launch, Heard()).carry_out(trials(store, cases=CASES[:3]))
    assert Claims(store.claims).holders() == []
    assert len(launched) == 2
    assert len(again) == 3


def test_a_record_can_be_read_by_others(tmp_path: Path) -> None:
    store = Store(tmp_path)
    (first, *_) = trials(store)
    before = os.umask(0o022)
    try:
        path = store.add(recorded(first, status="ok"))
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o644
    assert [one.name for one in path.parent.iterdir()] == [path.name]
