"""The device's measured maximum rates in the case's precision: the roofline behind MFU.

Source: Williams et al., "Roofline" (CACM 52(4), 2009). The arithmetic roof is the fastest of a few
square matrix products, the memory roof the fastest of a few copies.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator

import torch

from sfbench.hardware.backend import Backend
from sfbench.values.metric_names import MFU
from sfbench.values.records import Reading

REPEATS = 6


@dataclasses.dataclass(frozen=True, slots=True)
class Roofline:
    """Operations and bytes (read and written) per second."""

    flops: float
    bandwidth: float
    side: int


def measured_roofline(backend: Backend, dtype: torch.dtype) -> Roofline:
    """Return the device's roofline under torch's current precision policy."""
    side = backend.roof_side
    source = torch.Generator().manual_seed(0)
    a, b = (
        torch.randn(side, side, generator=source).to(device=backend.name, dtype=dtype)
        for _ in range(2)
    )
    product = torch.empty_like(a)
    seconds = fastest(lambda: torch.mm(a, b, out=product), backend)
    block = torch.zeros(backend.roof_bytes, dtype=torch.uint8, device=backend.name)
    target = torch.empty_like(block)
    copying = fastest(lambda: target.copy_(block), backend)
    return Roofline(2 * side**3 / seconds, 2 * block.numel() / copying, side)


def fastest(work: Callable[[], object], backend: Backend) -> float:
    """Return the least seconds of a few calls: a roofline is what is possible, not typical."""
    best = float("inf")
    for _ in range(REPEATS):
        backend.synchronize()
        start = time.perf_counter()
        work()
        backend.synchronize()
        best = min(best, time.perf_counter() - start)
    return best


def roofline_readings(
    roofline: Roofline, flops: float | None, rate: float | None, dtype: str
) -> Iterator[Reading]:
    """Yield the rooflines, and the share of the arithmetic one reached by `rate` images/s.

    More than 1 is possible where an algorithm needs fewer operations than are counted (Winograd).
    """
    how = {"dtype": dtype, "side": roofline.side, "estimate": f"fastest of {REPEATS}"}
    yield Reading(metric="roofline.flops", value=roofline.flops, how=how)
    yield Reading(metric="roofline.bandwidth", value=roofline.bandwidth, how=how)
    if flops is None or rate is None:
        yield Reading(metric=MFU, reason="operations or throughput were not measured")
        return
    value = flops * rate / roofline.flops
    what = "counted operations of an image x images/s (core) over the measured roof"
    yield Reading(metric=MFU, value=value, how={**how, "what": what})
