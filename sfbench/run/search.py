"""Searches over processes: the largest batch that fits, the fastest, and the least memory.

Every attempt is a new process, so that running out of memory in one does not affect the next. The
result and all attempts become readings of the trial that follows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from sfbench.api.errors import SfbenchError
from sfbench.hardware.devices import find_backend
from sfbench.values.job import Job, Launcher, OnEvent
from sfbench.values.metric_names import MINIMUM_MEMORY
from sfbench.values.records import Reading, Record

FIRST_BATCH = 8
LARGEST_BATCH = 1 << 16
PRECISION = 1 / 16
"""Relative precision of a batch size or memory limit at which the search ends."""
GAIN = 1.02
"""The search goes on only if a larger batch is faster by this factor."""
MOST_TIMES = 8
MEBI = 1 << 20


class SearchError(SfbenchError):
    """The search failed: not even the smallest attempt ran."""


def searched(launcher: Launcher) -> Launcher:
    """Return a launcher that first finds what the case leaves open, then measures."""

    def launch(job: Job, timeout_seconds: float, on_event: OnEvent) -> Record:
        try:
            if job.case.batch_rule != "fixed":
                job = Search(job, launcher, timeout_seconds, on_event).batch()
            if "min-memory" in job.case.measure:
                least = Search(job, launcher, timeout_seconds, on_event).least_memory()
                job = dataclasses.replace(job, notes=(*job.notes, least))
        except SearchError as error:
            # If an attempt fails, so would the trial; its record says that nothing was found.
            open_batch = job.case.batch_rule != "fixed" and not job.case.batch
            metric = f"batch.{job.case.batch_rule}" if open_batch else MINIMUM_MEMORY
            note = Reading(metric=metric, reason=f"the search failed: {error}")
            case = dataclasses.replace(job.case, batch=job.case.batch or 1)
            job = dataclasses.replace(job, case=case, notes=(*job.notes, note))
        return launcher(job, timeout_seconds, on_event)

    return launch


class Search:
    """The attempts of one job."""

    def __init__(
        self,
        job: Job,
        launcher: Launcher,
        timeout_seconds: float,
        on_event: OnEvent,
    ) -> None:
        self.job = job
        self.launcher = launcher
        self.timeout_seconds = timeout_seconds
        self.on_event = on_event
        self.tries: list[dict[str, Any]] = []

    def attempt(self, batch: int, limit: int | None) -> Mapping[str, float] | None:
        """Return an attempt's values; None when it ran out of memory.

        Raises SearchError when it failed for a reason other than memory.
        """
        within = "" if limit is None else f" in {limit // MEBI:,} MiB"
        words = f"trying batch {batch}{within}"
        self.on_event({"phase": words})
        case = dataclasses.replace(self.job.case, batch=batch)
        job = dataclasses.replace(self.job, case=case, task="fits", memory_limit=limit)
        record = self.launcher(job, self.timeout_seconds, lambda _event: None)
        starved = record.status in {"oom", "killed"} or (
            limit is not None and record.status == "error"
        )
        self.tries.append({"batch": batch, "limit": limit, "status": record.status})
        if record.status == "ok":
            return {r.metric: r.value for r in record.readings if r.value is not None}
        if starved:
            return None
        msg = f"{record.status}: {record.reason}"
        raise SearchError(msg)

    def ceiling(self) -> int | None:
        """Return the bytes a batch on a CPU may use; None on a GPU, whose allocator has a limit."""
        return find_backend(self.job.case.device).memory_ceiling()

    def batch(self) -> Job:
        """Return the job with its batch found, and a reading that says how."""
        rule = self.job.case.batch_rule
        found = self.largest() if rule == "max-fit" else self.fastest()
        if not found:
            # The trial itself will report why not even one image fits.
            found = 1
        how = {"rule": rule, "tries": self.tries, "precision": PRECISION}
        note = Reading(metric=f"batch.{rule}", value=found, how=how)
        case = dataclasses.replace(self.job.case, batch=found)
        return dataclasses.replace(self.job, case=case, notes=(*self.job.notes, note))

    def further(self, batch: int, limit: int | None, good: int) -> Mapping[str, float] | None:
        """Return an attempt's values; once `good` images ran, any failure means no fit."""
        try:
            return self.attempt(batch, limit)
        except SearchError:
            if not good:
                raise
            return None

    def largest(self) -> int:
        """Return the largest batch that fits: doubled until it does not, then bisected."""
        limit = self.ceiling()
        good, batch = 0, FIRST_BATCH
        while batch <= LARGEST_BATCH and self.further(batch, limit, good):
            good, batch = batch, 2 * batch
        low, high = good, batch
        while high - low > max(1, int(PRECISION * low)):
            middle = (low + high) // 2
            if self.further(middle, limit, low):
                low = middle
            else:
                high = middle
        return low

    def fastest(self) -> int:
        """Return the batch with the most images/s: doubled while that gains 2 %."""
        limit = self.ceiling()
        best, rate, batch = 0, 0.0, 1
        while batch <= LARGEST_BATCH:
            found = self.further(batch, limit, best)
            if found is None:
                break
            if found["search.rate"] > rate:
                gained = found["search.rate"] > GAIN * rate
                best, rate = batch, found["search.rate"]
            else:
                gained = False
            if not gained and batch > FIRST_BATCH:
                break
            batch *= 2
        return best

    def least_memory(self) -> Reading:
        """Return the least memory in which the case still runs, by bisection.

        On a GPU, a limit on torch's allocator; on a CPU, on private writable memory (RLIMIT_DATA),
        the interpreter's and torch's own included.
        """
        metric, batch = MINIMUM_MEMORY, self.job.case.batch
        free = self.attempt(batch, None)
        if free is None:
            return Reading(metric=metric, reason="it does not run without a limit")
        of_host = max(free.get("search.data", 0), free.get("search.peak", 0))
        high = int(free.get("search.reserved", of_host))
        low, ceiling = 0, MOST_TIMES * high
        while self.attempt(batch, high) is None:
            low, high = high, 2 * high
            if high > ceiling:
                reason = f"it does not run in {MOST_TIMES} times the memory it uses without a limit"
                return Reading(metric=metric, reason=reason)
        while high - low > PRECISION * high:
            middle = (low + high) // 2
            if self.attempt(batch, middle):
                high = middle
            else:
                low = middle
        what = find_backend(self.job.case.device).memory_limit_acts_on
        how = {"limit": what, "batch": batch, "precision": PRECISION, "tries": self.tries}
        return Reading(metric=metric, value=high, low=low, high=high, how=how)
