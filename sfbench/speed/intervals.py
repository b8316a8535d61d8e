"""Distribution-free confidence intervals of medians and quantiles, by order statistics."""

from __future__ import annotations

import math
from collections.abc import Sequence

COVERAGE = 0.95


def median(values: Sequence[float]) -> float:
    """Return the median of one or more values."""
    return quantile(values, 0.5)


def quantile(values: Sequence[float], share: float) -> float:
    """Return the quantile by linear interpolation between order statistics."""
    ordered = sorted(values)
    position = share * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def quantile_interval(values: Sequence[float], share: float) -> tuple[float, float, float] | None:
    """Return (low, high, coverage): the narrowest order statistics around the quantile that cover it.

    The coverage is exact for any continuous distribution: the number of values below the quantile
    is binomial (David and Nagaraja, Order Statistics, section 7.1). None when even the extremes
    cover it with less than 95 %.
    """
    ordered = sorted(values)
    count = len(ordered)
    weights = [
        math.comb(count, k) * share**k * (1 - share) ** (count - k) for k in range(count + 1)
    ]
    best: tuple[int, int, float] | None = None
    for low in range(count):
        covered = 0.0
        for high in range(low + 1, count):
            covered += weights[high]
            if covered >= COVERAGE:
                if best is None or high - low < best[1] - best[0]:
                    best = (low, high, covered)
                break
    if best is None:
        return None
    return ordered[best[0]], ordered[best[1]], best[2]
