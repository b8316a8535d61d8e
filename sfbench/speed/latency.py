"""Latency: a separate pass, synchronized at every call."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from sfbench.hardware.backend import Backend
from sfbench.speed.intervals import quantile, quantile_interval
from sfbench.speed.throughput import warm_up
from sfbench.values.records import Reading
from sfbench.values.timing import STANDARD_TIMING, Timing

FEWEST_CALLS = 20
PASS_SECONDS = 20.0
CALLS_FOR_P99 = 500
SHARES = (("p50", 0.50), ("p90", 0.90), ("p99", 0.99))


def measure_latency(
    work: Callable[[], object],
    *,
    batch: int,
    backend: Backend,
    name: str = "latency",
    timing: Timing = STANDARD_TIMING,
) -> Iterator[Reading]:
    """Yield p50 and p90 (and p99 with 500 calls or more) of the seconds that one call takes.

    Slow models get fewer than 100 calls, at least 20; the count is in every reading.
    """
    warm_up(work, backend, timing)
    fewest = min(FEWEST_CALLS, timing.latency_calls)
    seconds: list[float] = []
    begin = time.perf_counter()
    while len(seconds) < timing.latency_calls:
        backend.synchronize()
        start = time.perf_counter()
        work()
        backend.synchronize()
        seconds.append(time.perf_counter() - start)
        if len(seconds) >= fewest and time.perf_counter() - begin > PASS_SECONDS:
            break
    yield from latency_readings(seconds, batch=batch, name=name)


def latency_readings(seconds: Sequence[float], *, batch: int, name: str) -> Iterator[Reading]:
    """Yield the quantiles of these calls' seconds, with order-statistic intervals."""
    for quantile_name, share in SHARES:
        metric = f"{name}.{quantile_name}"
        if quantile_name == "p99" and len(seconds) < CALLS_FOR_P99:
            reason = f"{len(seconds)} calls measured, {CALLS_FOR_P99} needed"
            yield Reading(metric=metric, reason=reason)
            continue
        interval = quantile_interval(seconds, share)
        yield Reading(
            metric=metric,
            value=quantile(seconds, share),
            low=interval[0] if interval else None,
            high=interval[1] if interval else None,
            samples=tuple(seconds) if quantile_name == "p50" else (),
            how={
                "batch": batch,
                "calls": len(seconds),
                "interval": "none: too few calls"
                if interval is None
                else f"order statistics, coverage {interval[2]:.3f}",
            },
        )
