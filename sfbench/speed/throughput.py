"""Throughput: images per second from blocks, after a warm-up to steady state."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

from sfbench.hardware.backend import Backend, ClockState
from sfbench.speed.blocks import Block, calls_per_block, time_block
from sfbench.speed.intervals import median, quantile_interval
from sfbench.values.metric_names import LAUNCH_BOUND, NOISY, THROTTLED, UNSTEADY
from sfbench.values.records import Reading
from sfbench.values.timing import STANDARD_TIMING, Timing

FEWEST_BLOCKS = 6
REGION_SECONDS = 25.0
WARM_LIMIT_SECONDS = 10.0
WINDOW = 8
STEADY_SLOPE = 0.05
STEADY_SPREAD = 0.10
NOISY_SPREAD = 0.20
LAUNCH_BOUND_RATIO = 1.1
QUEUE_BOUND = 0.9

Work = Callable[[], object]


@dataclasses.dataclass(frozen=True, slots=True)
class WarmUp:
    """How the warm-up went: its seconds, whether it became steady, and the time of one call."""

    seconds: float
    steady: bool
    seconds_per_call: float


def warm_up(work: Work, backend: Backend, timing: Timing = STANDARD_TIMING) -> WarmUp:
    """Call `work` until the last blocks show no slope and little spread, or the limit is reached."""
    first = time_block(work, 1, backend)  # may compile or tune: not representative of later calls
    if first.seconds > WARM_LIMIT_SECONDS:
        # No compilation: the trial has already entered the mode and generated images.
        return WarmUp(first.seconds, steady=True, seconds_per_call=first.seconds_per_call)
    start = time.perf_counter()
    first = time_block(work, 1, backend)
    calls = max(1, calls_per_block(first.seconds_per_call, timing.block_seconds) // 4)
    least, limit = backend.warmup_seconds, WARM_LIMIT_SECONDS
    if timing.warmup_seconds is not None:
        least, limit = timing.warmup_seconds, WARM_LIMIT_SECONDS * timing.warmup_seconds
    history = [first.seconds_per_call]
    while True:
        history.append(time_block(work, calls, backend).seconds_per_call)
        elapsed = time.perf_counter() - start
        recent = history[-WINDOW:]
        steady = len(recent) == WINDOW and is_steady(recent)
        if (steady and elapsed >= least) or elapsed >= limit:
            # If a call takes seconds there is no time for eight: use those available.
            settled = steady or is_steady(recent)
            return WarmUp(elapsed, settled, median(recent[-WINDOW // 2 :]))


def is_steady(seconds: list[float]) -> bool:
    """Return whether the times show neither a slope nor much spread, relative to their median."""
    half = len(seconds) // 2
    if half < 1:
        return False
    middle = median(seconds)
    slope = abs(median(seconds[:half]) - median(seconds[-half:])) / middle
    spread = median([abs(value - middle) for value in seconds]) / middle
    return slope <= STEADY_SLOPE and spread <= STEADY_SPREAD


def measure_region(
    name: str, work: Work, *, batch: int, backend: Backend, timing: Timing = STANDARD_TIMING
) -> tuple[Reading, list[str]]:
    """Return images per second of a region ("core" or "e2e") and the flags it raised.

    If a call takes seconds, `core` gets 6 blocks and `e2e` 3, too few for an interval.
    """
    fewest = FEWEST_BLOCKS if name == "core" else FEWEST_BLOCKS // 2
    fewest = min(fewest, timing.blocks)
    warm = warm_up(work, backend, timing)
    calls = calls_per_block(warm.seconds_per_call, timing.block_seconds)
    before = busy_clock_state(work, calls, backend)
    blocks: list[Block] = []
    start = time.perf_counter()
    while len(blocks) < timing.blocks:
        blocks.append(time_block(work, calls, backend))
        if len(blocks) >= fewest and time.perf_counter() - start > REGION_SECONDS:
            break
    after = None if before is None else busy_clock_state(work, calls, backend)
    clocks = None if before is None or after is None else (before, after)
    rates = [batch / block.seconds_per_call for block in blocks]
    interval = quantile_interval(rates, 0.5)
    how: dict[str, Any] = {
        "region": REGIONS[name],
        "estimate": "median block",
        "interval": "none: too few blocks"
        if interval is None
        else f"order statistics of blocks in one process, coverage {interval[2]:.3f}",
        "batch": batch,
        "calls_per_block": calls,
        "blocks": len(blocks),
        "warm_up_seconds": warm.seconds,
        **witnesses(blocks),
        "sm_clock_mhz": None if clocks is None else [state.megahertz for state in clocks],
        "clock_reasons": None if clocks is None else [state.reasons for state in clocks],
    }
    reading = Reading(
        metric=f"throughput.{name}",
        value=median(rates),
        low=interval[0] if interval else None,
        high=interval[1] if interval else None,
        samples=tuple(rates),
        how=how,
    )
    raised = flags(warm, blocks, rates)
    if clocks is not None and any(state.held_down for state in clocks):
        raised.append(THROTTLED)
    return reading, raised


REGIONS = {
    "core": "latents drawn before; map and synthesize only",
    "e2e": "draw latents, synthesize, convert to bytes, copy to the host",
}


def busy_clock_state(work: Work, calls: int, backend: Backend) -> ClockState | None:
    """Return the device's clock while it works, outside any block: an idle one says nothing.

    None where the device has no clock that can be asked; then nothing is called.
    """
    if backend.clock() is None:
        return None
    for _ in range(calls):
        work()
    state = backend.clock()
    backend.synchronize()
    return state


def witnesses(blocks: list[Block]) -> dict[str, Any]:
    """Return what the blocks observed of the machine: annotations; nothing is trimmed by them."""
    device = [block.seconds / block.device_seconds for block in blocks if block.device_seconds]
    waits = [block.pressure for block in blocks if block.pressure is not None]
    return {
        "cpu_seconds_per_second": median([b.cpu_seconds / b.seconds for b in blocks]),
        "involuntary_switches": sum(block.switches for block in blocks),
        "cpu_pressure_percent": median(waits) if waits else None,
        "queued_over_wall": median([b.queued_seconds / b.seconds for b in blocks]),
        "wall_over_device": median(device) if device else None,
    }


def flags(warm: WarmUp, blocks: list[Block], rates: list[float]) -> list[str]:
    """Return the flags that these blocks raise."""
    raised = []
    if not warm.steady:
        raised.append(UNSTEADY)
    if (max(rates) - min(rates)) / median(rates) > NOISY_SPREAD:
        raised.append(NOISY)
    seen = witnesses(blocks)
    ratio = seen["wall_over_device"]
    # Events include idle gaps between kernels: a queueing time near the total is a better sign.
    if ratio is not None and (ratio > LAUNCH_BOUND_RATIO or seen["queued_over_wall"] > QUEUE_BOUND):
        raised.append(LAUNCH_BOUND)
    return raised
