"""Energy per image: a hardware counter before and after whole blocks, nothing estimated."""

from __future__ import annotations

import time
from collections.abc import Callable

from sfbench.hardware.backend import Backend
from sfbench.speed.throughput import warm_up
from sfbench.values.metric_names import ENERGY
from sfbench.values.records import Reading
from sfbench.values.timing import STANDARD_TIMING, Timing

SECONDS = 5.0
"""Counters update about ten times a second, which is negligible over this duration."""


def energy_reading(
    work: Callable[[], object], *, batch: int, backend: Backend, timing: Timing = STANDARD_TIMING
) -> Reading:
    """Return joules per image of the core region, idle power included; null without a counter."""
    counter, what = backend.energy_joules, backend.energy_counter
    if counter() is None:
        return Reading(metric=ENERGY, reason=f"no readable counter: {what}")
    warm_up(work, backend, timing)
    backend.synchronize()
    before, start, calls = counter(), time.perf_counter(), 0
    while time.perf_counter() - start < SECONDS:
        work()
        backend.synchronize()
        calls += 1
    after, seconds = counter(), time.perf_counter() - start
    if before is None or after is None or after <= before:
        return Reading(metric=ENERGY, reason=f"the counter did not change: {what}")
    joules = after - before
    how = {
        "counter": what,
        "batch": batch,
        "calls": calls,
        "seconds": seconds,
        "watts": joules / seconds,
        "region": "core",
    }
    return Reading(metric=ENERGY, value=joules / (calls * batch), how=how)
