"""The speed probe: core and e2e throughput, then latency, on latents drawn before."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator

import torch

from sfbench.api.protocols import ImageGenerator
from sfbench.pixels import to_bytes
from sfbench.records import Reading
from sfbench.speed.latency import measure_latency
from sfbench.speed.throughput import measure_region

RING = 4
LATENCY_BATCH = 1


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
    device: str
    phase: Callable[[str], None]
    flags: list[str] = dataclasses.field(default_factory=list)

    def __call__(self, generator: ImageGenerator) -> Iterator[Reading]:
        """Yield the readings; `phase` is called before each region, never inside one."""
        with torch.inference_mode():
            regions = {"core": core_work, "e2e": e2e_work}
            for name, make in regions.items():
                self.phase(f"throughput {name}")
                work = make(generator, self.batch, self.seed)
                reading, raised = measure_region(name, work, batch=self.batch, device=self.device)
                self.flags += [flag for flag in raised if flag not in self.flags]
                yield reading
            self.phase("latency")
            work = core_work(generator, LATENCY_BATCH, self.seed)
            yield from measure_latency(work, batch=LATENCY_BATCH, device=self.device)
