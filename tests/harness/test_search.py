from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from making import a_case, a_job

from sfbench.run.search import searched
from sfbench.values.job import Job, case_document
from sfbench.values.records import Reading, Record, Status

pytestmark = pytest.mark.fast
MEBI = 1 << 20


def job(rule: str, *measure: str) -> Job:
    batch = 8 if rule == "fixed" else 0
    return a_job(a_case(batch=batch, batch_rule=rule, measure=measure, threads=1))


class Machine:
    """A machine on which an image takes 10 MiB over 100, and 64 images at once are fastest."""

    def __init__(self, memory: int = 1000, broken_from: int | None = None) -> None:
        self.memory = memory * MEBI
        self.broken_from = broken_from
        self.seen: list[Job] = []

    def __call__(
        self, job: Job, _timeout: float, _event: Callable[[Mapping[str, Any]], None]
    ) -> Record:
        self.seen.append(job)
        batch = job.case.batch
        needed = (100 + 10 * batch) * MEBI
        status: Status = (
            "oom" if needed > min(job.memory_limit or self.memory, self.memory) else "ok"
        )
        if self.broken_from is not None and batch >= self.broken_from:
            status = "contract_failed"
        rate = batch / (1 + batch / 10) if batch <= 64 else 5.0
        readings = (
            Reading(metric="search.rate", unit="images/s", value=rate),
            Reading(metric="search.data", unit="bytes", value=needed),
        )
        return Record(
            identity="", case_key=job.case.key(), case=case_document(job.case), trial=0, attempt=0,
            status=status, reason=None if status == "ok" else "why",
            readings=(*job.notes, *readings) if status == "ok" else job.notes,
        )  # fmt: skip


def readings(record: Record) -> dict[str, Reading]:
    return {reading.metric: reading for reading in record.readings}


def test_the_largest_batch_is_found_to_a_sixteenth() -> None:
    machine = Machine()
    record = searched(machine)(job("max-fit"), 1, lambda _: None)
    found = readings(record)["batch.max-fit"]
    # 90 images fit.
    assert 84 <= (found.value or 0) <= 90
    assert record.case["batch"] == found.value
    assert {t["status"] for t in found.how["tries"]} == {"ok", "oom"}
    assert all(try_.task == "fits" for try_ in machine.seen[:-1])
    assert machine.seen[-1].task == "trial"


def test_the_fastest_batch_is_found_and_a_slower_one_ends_the_search() -> None:
    found = readings(searched(Machine(10_000))(job("best-throughput"), 1, lambda _: None))
    assert found["batch.best-throughput"].value == 64


def test_the_least_memory_is_bracketed() -> None:
    found = readings(searched(Machine())(job("fixed", "min-memory"), 1, lambda _: None))
    least = found["memory.minimum"]
    # 8 images need 180 MiB.
    assert (least.low or 0) < 180 * MEBI <= (least.value or 0)
    assert (least.value or 0) - (least.low or 0) <= (least.value or 0) / 16


def test_a_case_that_fails_for_another_reason_is_left_to_the_trial_to_explain() -> None:
    record = searched(Machine(broken_from=0))(job("max-fit"), 1, lambda _: None)
    assert record.status == "contract_failed"
    found = readings(record)["batch.max-fit"]
    assert found.value is None
    assert found.reason == "the search failed: contract_failed: why"


def test_what_ran_is_kept_when_a_larger_batch_fails_otherwise() -> None:
    for rule, most in (("max-fit", 20), ("best-throughput", 16)):
        record = searched(Machine(broken_from=21))(job(rule), 1, lambda _: None)
        assert record.status == "ok"
        assert most - 2 <= (readings(record)[f"batch.{rule}"].value or 0) <= most


def test_a_batch_that_was_found_does_not_change_the_case() -> None:
    asked = job("max-fit").case
    record = searched(Machine())(job("max-fit"), 1, lambda _: None)
    assert record.case_key == asked.key()
