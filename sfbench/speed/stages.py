"""The parts of a generator, one by one: seconds and memory of a call, and operations of all calls."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sfbench.api.protocols import Staged
from sfbench.hardware.backend import Backend
from sfbench.hardware.host import host_memory, reset_host_peak
from sfbench.speed.latency import measure_latency
from sfbench.speed.operations import Counter
from sfbench.values.metric_names import STAGE_MEMORY, STAGE_SECONDS
from sfbench.values.records import Reading
from sfbench.values.timing import Timing


def stage_seconds(
    generator: Staged, latents: Any, *, batch: int, backend: Backend, timing: Timing
) -> Iterator[Reading]:
    """Yield the median seconds of one call of each part, with the calls that a batch makes."""
    for stage in generator.stages(latents):
        found = measure_latency(
            stage.run, batch=batch, backend=backend, name="stage", timing=timing
        )
        median = next(iter(found))
        yield Reading(
            metric=f"{STAGE_SECONDS}[{stage.name}]",
            value=median.value,
            low=median.low,
            high=median.high,
            samples=median.samples,
            how={**median.how, "calls_of_a_batch": stage.calls},
        )


def stage_memory(
    generator: Staged, latents: Any, *, batch: int, backend: Backend
) -> Iterator[Reading]:
    """Yield the peak of one call of each part above what was there before it."""
    for stage in generator.stages(latents):
        stage.run()
        backend.synchronize()
        backend.reset_peaks()
        before = backend.peaks()
        resident = host_memory("VmRSS")
        resettable = reset_host_peak()
        stage.run()
        backend.synchronize()
        after = backend.peaks()
        name = f"{STAGE_MEMORY}[{stage.name}]"
        how = {"batch": batch, "calls_of_a_batch": stage.calls}
        peak = host_memory("VmHWM")
        if before is not None and after is not None:
            above = after.allocated - before.allocated
            yield Reading(metric=name, value=max(above, 0), how=how | {"of": "the device"})
        elif resettable and peak is not None and resident is not None:
            above = max(peak - resident, 0)
            yield Reading(metric=name, value=above, how=how | {"of": "the host"})
        else:
            yield Reading(metric=name, reason="this system cannot reset the peak")


def stage_operations(generator: Staged, latents: Any) -> dict[str, int]:
    """Return the operations of all calls of each part, counted in one call of it."""
    found = {}
    for stage in generator.stages(latents):
        with Counter() as counter:
            stage.run()
        found[stage.name] = counter.total * stage.calls
    return found
