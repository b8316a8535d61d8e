"""Steps in a series of measurements: where a value changed lastingly, beyond noise.

Binary segmentation with a permutation test (as in Scott and Knott, Biometrics 30, 1974, with the
test of Matteson and James, arXiv 1306.4933, section 3): the split with the largest difference of
means of logarithms is a step if at most one in twenty orders of the same values splits as well, and
the values on its sides differ by more than the margin. Its sides are searched likewise.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

FEWEST = 8
"""Fewest measurements for which the permutation test can be significant."""
LEVEL = 0.05
MARGIN = 0.03
"""The smallest relative change that is reported, as in `sfbench compare`."""
ORDERS = 999


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """From position `at` on values are `ratio` times what they were before; `p` of the test."""

    at: int
    ratio: float
    p: float


def steps(values: Sequence[float], *, margin: float = MARGIN) -> list[Step]:
    """Return the steps of positive values in the order of measuring; none for fewer than eight."""
    logs = np.log(np.asarray(values, dtype=float))
    return sorted(segmented(logs, 0, margin), key=lambda step: step.at)


def segmented(logs: NDArray[np.float64], start: int, margin: float) -> list[Step]:
    """Return the steps of one segment, which begins at `start` of the series."""
    if len(logs) < FEWEST:
        return []
    split, largest = best_split(logs)
    before, after = np.median(logs[:split]), np.median(logs[split:])
    change = float(np.exp(after - before))
    if abs(np.log(change)) <= np.log1p(margin):
        return []
    source = np.random.default_rng(0)
    as_large = sum(best_split(source.permutation(logs))[1] >= largest for _ in range(ORDERS))
    p = (as_large + 1) / (ORDERS + 1)
    if p > LEVEL:
        return []
    step = Step(at=start + split, ratio=change, p=p)
    left = segmented(logs[:split], start, margin)
    return [*left, step, *segmented(logs[split:], start + split, margin)]


def best_split(logs: NDArray[np.float64]) -> tuple[int, float]:
    """Return where to split, and how much of the variation that explains: n1 n2 / n (m1 - m2)^2."""
    count = len(logs)
    left = np.arange(1, count)
    sums = np.cumsum(logs)[:-1]
    means = sums / left, (logs.sum() - sums) / (count - left)
    explained = left * (count - left) / count * (means[0] - means[1]) ** 2
    place = int(np.argmax(explained))
    return place + 1, float(explained[place])
