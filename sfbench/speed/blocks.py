"""Blocks: batches queued together and timed as one, with observations of the machine.

Inside a block nothing runs but the work itself: no synchronization, no printing, no hook.
"""

from __future__ import annotations

import dataclasses
import gc
import math
import resource
import time
from collections.abc import Callable

from sfbench.hardware.backend import Backend
from sfbench.hardware.host import pressure
from sfbench.values.timing import BLOCK_SECONDS

MOST_CALLS = 100_000


@dataclasses.dataclass(frozen=True, slots=True)
class Block:
    """One timed block: its calls and seconds (wall, CPU, device, until all calls were queued)."""

    calls: int
    seconds: float
    cpu_seconds: float
    device_seconds: float | None
    queued_seconds: float
    switches: int
    pressure: float | None

    @property
    def seconds_per_call(self) -> float:
        """Wall time of one call."""
        return self.seconds / self.calls


def time_block(work: Callable[[], object], calls: int, backend: Backend) -> Block:
    """Return one block of `calls` calls of `work`, synchronized at both ends."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
    backend.synchronize()
    collecting = gc.isenabled()
    gc.disable()
    try:
        cpu = time.process_time()
        start = time.perf_counter()
        with backend.span() as device_seconds:
            for _ in range(calls):
                work()
            queued_seconds = time.perf_counter() - start
        backend.synchronize()
        seconds = time.perf_counter() - start
        cpu_seconds = time.process_time() - cpu
    finally:
        if collecting:
            gc.enable()
    return Block(
        calls=calls,
        seconds=seconds,
        cpu_seconds=cpu_seconds,
        device_seconds=device_seconds[0] if device_seconds else None,
        queued_seconds=queued_seconds,
        switches=resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw - before,
        pressure=pressure(),
    )


def calls_per_block(seconds_per_call: float, block_seconds: float = BLOCK_SECONDS) -> int:
    """Return how many calls fill a block of at least `block_seconds`."""
    if seconds_per_call <= 0:
        return MOST_CALLS
    return min(max(1, math.ceil(block_seconds / seconds_per_call)), MOST_CALLS)
