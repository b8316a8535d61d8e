"""The speed probe: core and e2e throughput, then latency, on latents drawn beforehand."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from typing import Literal

import torch

from sfbench.api.protocols import ImageGenerator
from sfbench.hardware.backend import Backend
from sfbench.speed.intervals import median
from sfbench.speed.latency import (
    FEWEST_CALLS,
    PASS_SECONDS,
    latency_readings,
    measure_latency,
)
from sfbench.speed.throughput import measure_region
from sfbench.values.metric_names import LATENCY, LATENCY_BATCH
from sfbench.values.pixels import to_bytes
from sfbench.values.records import Reading
from sfbench.values.timing import STANDARD_TIMING, Timing

RING = 4
ONE_IMAGE = 1


def core_work(
    generator: ImageGenerator, batch: int, seed: int, *, ring: int = RING
) -> Callable[[], object]:
    """Return a call that synthesizes the next batch of a ring of latents drawn now."""
    latents = itertools.cycle(
        [
            generator.draw_latents(range(seed + turn * batch, seed + (turn + 1) * batch))
            for turn in range(ring)
        ]
    )
    synthesize = generator.synthesize
    return lambda: synthesize(next(latents))


def e2e_work(generator: ImageGenerator, batch: int, seed: int) -> Callable[[], object]:
    """Return a call that goes from the next seeds to bytes on the host."""
    starts = itertools.count(seed, batch)

    def work() -> object:
        start = next(starts)
        latents = generator.draw_latents(range(start, start + batch))
        return to_bytes(generator.synthesize(latents)).cpu()

    return work


@dataclasses.dataclass(slots=True, kw_only=True)
class SpeedProbe:
    """Measures one generator; `flags` holds what was raised once it has been called."""

    batch: int
    seed: int
    backend: Backend
    phase: Callable[[str], None]
    timing: Timing = STANDARD_TIMING
    flags: list[str] = dataclasses.field(default_factory=list)

    def __call__(self, generator: ImageGenerator) -> Iterator[Reading]:
        """Yield the readings; `phase` is called before each region, never inside one."""
        with torch.inference_mode():
            core = self.region(generator, "core")
            yield core
            yield self.region(generator, "e2e")
            self.phase("latency")
            yield from self.latency(generator, ONE_IMAGE, core, LATENCY)
            if self.batch != ONE_IMAGE:
                yield from self.latency(generator, self.batch, core, LATENCY_BATCH)

    def latency(
        self, generator: ImageGenerator, batch: int, core: Reading, name: str
    ) -> Iterator[Reading]:
        """Yield the latency of a batch; slow calls reuse the timings of the blocks."""
        seconds = [self.batch / rate for rate in core.samples]
        if batch == self.batch and median(seconds) > PASS_SECONDS / FEWEST_CALLS:
            yield from latency_readings(seconds, batch=batch, name=name)
            return
        work = core_work(generator, batch, self.seed)
        yield from measure_latency(
            work, batch=batch, backend=self.backend, name=name, timing=self.timing
        )

    def region(self, generator: ImageGenerator, name: Literal["core", "e2e"]) -> Reading:
        """Return the throughput of one region."""
        self.phase(f"throughput {name}")
        work = {"core": core_work, "e2e": e2e_work}[name](generator, self.batch, self.seed)
        reading, raised = measure_region(
            name, work, batch=self.batch, backend=self.backend, timing=self.timing
        )
        self.flags += [flag for flag in raised if flag not in self.flags]
        return reading
