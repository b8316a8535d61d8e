"""Workers on one store share its trials: none is lost, stored twice, or measured beside another."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from making import a_case, a_catalogue, a_model, a_record
from working import GIVEN, MACHINE, Heard, a_worker, instant, trials

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
import stress_workers

from sfbench.api.errors import DataError
from sfbench.run import work
from sfbench.run.schedule import pending_trials
from sfbench.store.claims import Claims
from sfbench.store.device_locks import device_lock
from sfbench.store.runs import Store
from sfbench.values.job import Job
from sfbench.values.plan import Plan
from sfbench.values.records import Record

OnEvent = Callable[[Mapping[str, Any]], None]


@pytest.mark.fast
def test_two_runs_at_once_measure_everything_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "POLL_SECONDS", 0.02)
    store = Store(tmp_path)
    store.prepare()
    launched: list[tuple[str, int]] = []

    def launch(job: Job, timeout: float, on_event: OnEvent) -> Record:
        launched.append((job.identity, job.trial))
        return instant(job, timeout, on_event)

    heard = [Heard(), Heard()]
    found: list[list[Record]] = []
    asked = trials(store, count=5)

    def run(one: Heard) -> None:
        found.append(a_worker(store, launch, one).carry_out(asked))

    threads = [threading.Thread(target=run, args=(one,)) for one in heard]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(launched) == len(set(launched)) == 20
    assert [len(records) for records in found] == [20, 20]
    finished = [sum(told[0] == "finished" for told in one.told) for one in heard]
    assert sum(finished) == 20
    assert list(Claims(store.claims).files()) == []


@pytest.mark.fast
def test_a_trial_of_another_is_waited_for_and_taken_over_when_it_is_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    store.prepare()
    (trial,) = trials(store, cases=(a_case(),))
    claim = Claims(store.claims).take(trial.name, "theirs")
    assert claim is not None
    heard = Heard()
    monkeypatch.setattr(work.time, "sleep", lambda _: claim.release())
    (record,) = a_worker(store, instant, heard).carry_out([trial])
    assert record.status == "ok"
    assert [told[0] for told in heard.told] == ["planned", "waiting", "started", "finished"]
    assert heard.told[1] == ("waiting", 1, [trial.name])


@pytest.mark.fast
def test_a_worker_whose_trial_another_measured_meanwhile_stores_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.prepare()
    (trial,) = trials(store, cases=(a_case(),))

    def paused(job: Job, timeout: float, on_event: OnEvent) -> Record:
        other = Claims(store.claims, lease_seconds=-1.0)  # to which every claim has expired
        claim = other.take(trial.name)
        assert claim is not None
        store.link(a_record(identity=job.identity, case={"seed": 99}))
        return instant(job, timeout, on_event)

    (record,) = a_worker(store, paused, Heard()).carry_out([trial])
    assert record.case["seed"] == 99
    assert len(store.load()[0]) == 1


@pytest.mark.fast
def test_a_failure_that_another_stored_meanwhile_is_not_tried_again_at_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    (trial,) = trials(store, cases=(a_case(),))
    store.add(a_record(identity=trial.identity, status="error", reason="it broke"))

    def never(*_: Any) -> Record:
        raise AssertionError

    (record,) = a_worker(store, never, Heard()).carry_out([trial])
    assert record.status == "error"
    (again,) = trials(store, cases=(a_case(),))
    assert again.attempt == 1


@pytest.mark.fast
def test_a_record_that_cannot_be_read_is_an_error_not_a_loop(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.prepare()
    (trial,) = trials(store, cases=(a_case(),))
    (store.runs / f"{trial.name}-a0.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read"):
        a_worker(store, instant, Heard()).carry_out([trial])


@pytest.mark.fast
def test_what_is_timed_has_its_device_alone_and_other_work_shares_it(tmp_path: Path) -> None:
    def lock(*, alone: bool) -> Any:
        return device_lock(tmp_path, "here", "GPU-1", alone=alone)

    with lock(alone=False) as first, lock(alone=False) as second, lock(alone=True) as third:
        assert (first, second, third) == (True, True, False)
    with lock(alone=True) as first, lock(alone=False) as second:
        assert (first, second) == (True, False)
    with lock(alone=True) as first:
        assert first


@pytest.mark.fast
def test_a_busy_device_leaves_timed_trials_for_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    store.prepare()
    cases = (a_case(), a_case(measure=("quality",)))
    asked = pending_trials(Plan(cases=cases), a_catalogue(a_model()), store, MACHINE)
    worker = a_worker(store, instant, Heard())
    busy = device_lock(store.root, work.lock_scope(), worker.places["cpu"].unique, alone=False)
    done = []
    with busy:

        def give_up(_: float) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(work.time, "sleep", give_up)
        with pytest.raises(KeyboardInterrupt):
            done.extend(worker.measured(asked))
    assert [record.identity for record in store.load()[0]] == [
        trial.identity for trial in asked if trial.case.measure == ("quality",)
    ]


@pytest.mark.fast
def test_a_worker_ends_after_so_many_trials_or_seconds(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.prepare()
    assert len(a_worker(store, instant, Heard(), most=2).carry_out(trials(store))) == 2
    assert len(a_worker(store, instant, Heard(), seconds=0.0).carry_out(trials(store))) == 2
    assert len(a_worker(store, instant, Heard()).carry_out(trials(store))) == 4
    assert GIVEN.features == "kept"


def test_many_workers_share_many_trials(tmp_path: Path) -> None:
    found = stress_workers.share(tmp_path, 6, 120)
    wrong = ("begun_again", "measured_twice", "stored_twice", "lost", "torn", "claims_left")
    assert {name: found[name] for name in wrong} == dict.fromkeys(wrong, 0)
    assert found["failed_workers"] == 0


@pytest.mark.parametrize("hidden", [False, True])
def test_what_killed_workers_had_claimed_is_measured_by_others(
    tmp_path: Path, *, hidden: bool
) -> None:
    found = stress_workers.kill(tmp_path, 6, hidden=hidden)
    assert {name: found[name] for name in ("stored_twice", "lost", "torn", "claims_left")} == {
        "stored_twice": 0, "lost": 0, "torn": 0, "claims_left": 0,
    }  # fmt: skip
    assert found["begun_again"] <= found["kills"]


def test_a_paused_worker_stores_nothing_twice(tmp_path: Path) -> None:
    found = stress_workers.pause(tmp_path, 1)
    assert found["stored_twice"] == found["lost"] == found["torn"] == found["claims_left"] == 0
    assert found["begun_again"] == 1


def test_a_claim_is_cheap_beside_many_records(tmp_path: Path) -> None:
    assert stress_workers.cost(tmp_path)["median_ms"] < 5
