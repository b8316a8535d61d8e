"""How cost grows with resolution: the fit a + b r^2 + c r^4, its terms, slopes and crossovers.

Time that grows with the number of pixels is b r^2; full attention, whose pairs of pixels grow with
its square, is c r^4; what every image costs is a. One log-log slope over a range would mix them.
The fit is non-negative least squares of relative errors; intervals are
those of a bootstrap over trials (over blocks, where there is one trial). Nothing here measures.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

POWERS = (0, 2, 4)
SUBSETS = [list(c) for n in (1, 2, 3) for c in itertools.combinations(range(len(POWERS)), n)]
BOOTSTRAPS = 1000
FEWEST_RESOLUTIONS = 3

Values = Mapping[int, Sequence[float]]
"""Measured costs per image, several per resolution."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A value and its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """The fit of one model: coefficients of r^0, r^2, r^4, drawn again for each bootstrap.

    `shares[r]`: the part of each term at that resolution. `slopes[r]`: d log cost / d log r from r
    to the next resolution, as measured, without any fit. `exponent`: the slope over the whole range.
    `worst`: the largest relative error of the fit at any resolution.
    """

    resolutions: tuple[int, ...]
    costs: Mapping[int, Interval]
    coefficients: tuple[Interval, ...]
    shares: Mapping[int, tuple[float, ...]]
    slopes: Mapping[int, Interval]
    exponent: Interval
    worst: float
    draws: NDArray[np.float64]

    def cost(self, resolution: float) -> float:
        """Return the fitted cost at any resolution."""
        return float(predicted([c.value for c in self.coefficients], resolution))


def fitted(values: Values) -> Scaling:
    """Return the fit; raises ValueError with fewer than three resolutions."""
    sides = tuple(sorted(values))
    if len(sides) < FEWEST_RESOLUTIONS:
        msg = f"{len(sides)} resolutions: a fit needs {FEWEST_RESOLUTIONS} or more"
        raise ValueError(msg)
    center = np.array([np.median(values[side]) for side in sides])
    source = np.random.default_rng(0)
    drawn = np.stack(
        [
            np.median(source.choice(values[side], (BOOTSTRAPS, len(values[side]))), axis=1)
            for side in sides
        ],
        axis=1,
    )
    best = least_squares(sides, center[None])[0]
    draws = least_squares(sides, drawn)
    slopes = slopes_of(sides, center[None])[0]
    slope_draws = slopes_of(sides, drawn)
    whole = np.log(drawn[:, -1] / drawn[:, 0]) / np.log(sides[-1] / sides[0])
    fit = predicted(best, np.array(sides))
    return Scaling(
        resolutions=sides,
        costs={s: interval(center[i], drawn[:, i]) for i, s in enumerate(sides)},
        coefficients=tuple(interval(best[i], draws[:, i]) for i in range(len(POWERS))),
        shares={s: shares(best, s) for s in sides},
        slopes={s: interval(slopes[i], slope_draws[:, i]) for i, s in enumerate(sides[:-1])},
        exponent=interval(
            float(np.log(center[-1] / center[0]) / np.log(sides[-1] / sides[0])), whole
        ),
        worst=float(np.max(np.abs(fit / center - 1))),
        draws=draws,
    )


def least_squares(sides: Sequence[int], costs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the non-negative coefficients with the least relative squared error, one row per draw.

    `costs` [draws, sides]. With three terms every set of them can be tried: the best whose
    coefficients are all positive.
    """
    r = np.asarray(sides, dtype=float)
    scale = r.max()
    powers = np.stack([(r / scale) ** power for power in POWERS], axis=1)
    terms = powers / costs[:, :, None]
    best = np.zeros((len(costs), len(POWERS)))
    least = np.full(len(costs), np.inf)
    for used in SUBSETS:
        part = terms[:, :, used]
        found = np.linalg.pinv(part).sum(axis=2)
        error = ((np.einsum("dst,dt->ds", part, found) - 1) ** 2).sum(axis=1)
        better = (found.min(axis=1) >= 0) & (error < least)
        least[better] = error[better]
        best[better] = 0
        best[np.ix_(better, used)] = found[better]
    coefficients: NDArray[np.float64] = best / scale ** np.array(POWERS)
    return coefficients


def predicted(
    coefficients: Sequence[float] | NDArray[np.float64], r: object
) -> NDArray[np.float64]:
    """Return the fitted cost at resolution r."""
    side = np.asarray(r, dtype=float)
    terms = [c * side**power for c, power in zip(coefficients, POWERS, strict=True)]
    return np.sum(terms, axis=0)  # type: ignore[no-any-return]  # numpy


def shares(coefficients: Sequence[float] | NDArray[np.float64], side: int) -> tuple[float, ...]:
    """Return the part of each term at a resolution."""
    terms = [float(c) * side**power for c, power in zip(coefficients, POWERS, strict=True)]
    return tuple(term / sum(terms) for term in terms)


def slopes_of(sides: Sequence[int], costs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the log-log slope from each resolution to the next, one row per bootstrap."""
    found: NDArray[np.float64] = np.diff(np.log(costs), axis=1) / np.diff(np.log(sides))
    return found


def interval(value: float, draws: NDArray[np.float64]) -> Interval:
    """Return a value with the percentiles of its draws."""
    low, high = np.quantile(draws, [0.025, 0.975])
    return Interval(value=float(value), low=float(low), high=float(high))


def crossover(a: Scaling, b: Scaling) -> Interval | None:
    """Return the resolution at which the fits of A and B cost the same; None if none does.

    Only inside the range that both were measured in: beyond it the fit is a guess. Of several the
    smallest; the interval is that of the draws which cross.
    """
    low = max(a.resolutions[0], b.resolutions[0])
    high = min(a.resolutions[-1], b.resolutions[-1])
    if low >= high:
        return None
    first, second = (np.array([[c.value for c in one.coefficients]]) for one in (a, b))
    found = float(crossings(first, second, low, high)[0])
    if math.isnan(found):
        return None
    drawn = crossings(a.draws, b.draws, low, high)
    met = drawn[~np.isnan(drawn)]
    return interval(found, met if len(met) else np.array([found]))


def crossings(
    a: NDArray[np.float64], b: NDArray[np.float64], low: float, high: float
) -> NDArray[np.float64]:
    """Return, per row of coefficients, the smallest r in range at which the fits cross.

    Their difference is a quadratic in r^2; NaN where it has no simple root in the range.
    """
    constant, linear, square = (a - b).T
    inside = linear**2 - 4 * square * constant
    with np.errstate(divide="ignore", invalid="ignore"):
        # The sum of equal signs first: the other root would lose its digits. Where the square term
        # is gone, so is the first root, and the second is that of the line.
        half = -(linear + np.copysign(np.sqrt(inside), linear)) / 2
        roots = np.sqrt(np.stack([half / square, constant / half]))
    simple = (inside > 0) & np.isfinite(roots) & (roots >= low) & (roots <= high)
    least: NDArray[np.float64] = np.where(simple, roots, np.inf).min(axis=0)
    return np.where(np.isinf(least), np.nan, least)
