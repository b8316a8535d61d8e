"""How much each image moves a value, and the difference of two values that share images.

To first order an estimate is the true value plus the mean of the influences of its images. Two models
judged on the same real images share what these images do to the value, and where image i of both
comes from seed i, what the seed does: the variance of the difference is that of the difference of
influences, much less than the sum of two variances (van der Vaart, Asymptotic Statistics, 1998,
section 20.1).
"""

from __future__ import annotations

import dataclasses
import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

NORMAL_95 = 1.959963984540054
POWER_80 = 0.8416212335729143
"""Standard normal quantile: what is this much beyond the margin is seen in four of five cases."""

Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Influences:
    """A value, and the influence on it of each generated and of each real image, but for a constant.

    `value`: as it was measured. `debiased`: without its bias of order 1/N; None if there are too few
    images for that, or no such estimate. `real`: None if the value depends on no real images, or on
    moments that count as exact. `images` and `reference`: what the rows are of; equal names mean
    that row i is of the same seed, or of the same real image.
    """

    value: float
    own: Array
    real: Array | None
    images: str
    reference: str
    debiased: float | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The value of B less that of A, with its standard error.

    `log_error`: the standard error of log(B / A); None unless both values are positive. `images`:
    generated images of the smaller side; `unequal`: whether the other has more. `same_draws`,
    `same_reference`: what both sides share. `debiased`: whether both values are.
    """

    a: float
    b: float
    error: float
    log_error: float | None = None
    images: int
    unequal: bool = False
    same_draws: bool = True
    same_reference: bool = True
    debiased: bool = False

    @property
    def change(self) -> float:
        """The difference, B less A."""
        return self.b - self.a

    @property
    def low(self) -> float:
        """The lower end of the 95 % interval of the difference."""
        return self.change - NORMAL_95 * self.error

    @property
    def high(self) -> float:
        """The upper end."""
        return self.change + NORMAL_95 * self.error

    @property
    def smallest(self) -> float:
        """The difference that would be told from none in four of five such comparisons."""
        return (NORMAL_95 + POWER_80) * self.error

    @property
    def p(self) -> float:
        """The two-sided p-value of no difference."""
        return p_value(self.change, self.error)


def p_value(change: float, error: float) -> float:
    """Return the two-sided p-value of a normal estimate."""
    if not error:
        return float(change == 0)
    return 2 * NormalDist().cdf(-abs(change) / error)


def difference(a: Influences, b: Influences) -> Difference:
    """Return the difference of two values, B less A; what the sides share is counted once."""
    values = a.value, b.value
    both = a.debiased is not None and b.debiased is not None
    if a.debiased is not None and b.debiased is not None:
        values = a.debiased, b.debiased
    positive = min(values) > 0
    log_variance = variance(a, b, (1 / values[0], 1 / values[1])) if positive else math.nan
    return Difference(
        a=values[0],
        b=values[1],
        error=math.sqrt(variance(a, b, (1.0, 1.0))),
        log_error=math.sqrt(log_variance) if positive else None,
        images=min(len(a.own), len(b.own)),
        unequal=len(a.own) != len(b.own),
        same_draws=share_rows(a.own, b.own, a.images == b.images),
        same_reference=a.real is not None
        and b.real is not None
        and share_rows(a.real, b.real, a.reference == b.reference),
        debiased=both,
    )


def share_rows(a: Array, b: Array, named_alike: bool) -> bool:  # noqa: FBT001  # a condition
    """Return whether row i of both is of one image."""
    return named_alike and len(a) == len(b)


def variance(a: Influences, b: Influences, scales: tuple[float, float]) -> float:
    """Return the variance of the difference of two values, each times its scale."""
    own = a.own * scales[0], b.own * scales[1]
    total = of_sets(*own, share_rows(*own, a.images == b.images))
    if a.real is not None and b.real is not None:
        real = a.real * scales[0], b.real * scales[1]
        return total + of_sets(*real, share_rows(*real, a.reference == b.reference))
    for one, scale in zip((a, b), scales, strict=True):
        if one.real is not None:
            total += mean_variance(one.real * scale)
    return total


def of_sets(a: Array, b: Array, shared: bool) -> float:  # noqa: FBT001  # a condition
    """Return the variance of the difference of two means."""
    return mean_variance(b - a) if shared else mean_variance(a) + mean_variance(b)


def mean_variance(values: Array) -> float:
    """Return the variance of the mean of these values."""
    return float(values.var(ddof=1)) / len(values)
