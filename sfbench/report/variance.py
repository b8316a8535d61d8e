"""Where a value's variance comes from: training again, or evaluating again.

Runs of training are drawn at random, evaluations within them: the one-way random-effects model. Its
intervals are exact for the variance between evaluations, and those of modified large samples
(Graybill and Wang, JASA 75, 1980) for the variance between runs.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

LEVEL = 0.05
POWER = 0.8
FEWEST = 2


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A standard deviation, and its 95 % interval."""

    value: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Components:
    """Mean of a value with its 95 % interval over training, and the two standard deviations.

    `between`: of runs of training; `within`: of evaluations of one run. `means`: of each run.
    """

    mean: float
    low: float
    high: float
    between: Spread
    within: Spread
    means: tuple[float, ...]
    evaluations: int

    @property
    def variance_of_a_run(self) -> float:
        """The variance of a run's mean over its evaluations."""
        return self.between.value**2 + self.within.value**2 / self.evaluations


def components(values: Sequence[Sequence[float]]) -> Components:
    """Return the components of values [run][evaluation].

    Raises ValueError for fewer than two runs, or runs that do not have equally many evaluations, two
    or more.
    """
    counts = {len(run) for run in values}
    if len(values) < FEWEST or len(counts) != 1 or min(counts) < FEWEST:
        msg = (
            f"{len(values)} runs with {sorted(counts)} evaluations; expected two runs or more, each "
            "with as many evaluations, two or more"
        )
        raise ValueError(msg)
    table = np.asarray(values, dtype=float)
    runs, each = table.shape
    means = table.mean(axis=1)
    squares = Squares(
        between=float(each * means.var(ddof=1)),
        within=float(((table - means[:, None]) ** 2).sum() / (runs * (each - 1))),
        runs=runs,
        each=each,
    )
    half = float(stats.t.ppf(1 - LEVEL / 2, runs - 1)) * math.sqrt(squares.between / table.size)
    mean = float(table.mean())
    return Components(
        mean=mean,
        low=mean - half,
        high=mean + half,
        between=squares.spread_between(),
        within=squares.spread_within(),
        means=tuple(map(float, means)),
        evaluations=each,
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Squares:
    """Mean squares between and within runs, and how many runs of how many evaluations."""

    between: float
    within: float
    runs: int
    each: int

    @property
    def degrees(self) -> tuple[int, int]:
        """Degrees of freedom between and within runs."""
        return self.runs - 1, self.runs * (self.each - 1)

    def spread_within(self) -> Spread:
        """Return the standard deviation of evaluations with its exact interval."""
        free = self.degrees[1]
        ends = [
            math.sqrt(free * self.within / float(stats.chi2.ppf(p, free)))
            for p in (1 - LEVEL / 2, LEVEL / 2)
        ]
        return Spread(value=math.sqrt(self.within), low=ends[0], high=ends[1])

    def spread_between(self) -> Spread:
        """Return the standard deviation of runs with its interval; zero where none is left."""
        value = (self.between - self.within) / self.each
        lower, upper = self.large_sample_terms()
        excess = self.between - self.within
        ends = (excess - math.sqrt(lower)) / self.each, (excess + math.sqrt(upper)) / self.each
        return Spread(
            value=math.sqrt(max(value, 0.0)),
            low=math.sqrt(max(ends[0], 0.0)),
            high=math.sqrt(max(ends[1], 0.0)),
        )

    def large_sample_terms(self) -> tuple[float, float]:
        """Return the variances of the excess of the mean square between runs, below and above."""
        free = self.degrees
        first, second = self.between, self.within
        low = [1 - f / float(stats.chi2.ppf(1 - LEVEL / 2, f)) for f in free]
        high = [f / float(stats.chi2.ppf(LEVEL / 2, f)) - 1 for f in free]
        ratio_low, ratio_high = (float(stats.f.ppf(p, *free)) for p in (LEVEL / 2, 1 - LEVEL / 2))
        mixed_low = ((ratio_high - 1) ** 2 - (low[0] * ratio_high) ** 2 - high[1] ** 2) / ratio_high
        mixed_high = ((1 - ratio_low) ** 2 - (high[0] * ratio_low) ** 2 - low[1] ** 2) / ratio_low
        below = (low[0] * first) ** 2 + (high[1] * second) ** 2 + mixed_low * first * second
        above = (high[0] * first) ** 2 + (low[1] * second) ** 2 + mixed_high * first * second
        return max(below, 0.0), max(above, 0.0)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """B less A over runs of training: means of runs, Welch's t test and interval."""

    change: float
    low: float
    high: float
    p: float

    @property
    def certain(self) -> bool:
        """Whether the sign of the difference is."""
        return self.p <= LEVEL


def trained_difference(a: Components, b: Components) -> Trained:
    """Return the difference of two models over retraining; the unit is the run."""
    change = b.mean - a.mean
    if max(np.ptp(a.means), np.ptp(b.means)) == 0:
        return Trained(change=change, low=change, high=change, p=float(change == 0))
    test = stats.ttest_ind(b.means, a.means, equal_var=False)
    bounds = test.confidence_interval(1 - LEVEL)
    return Trained(
        change=change, low=float(bounds.low), high=float(bounds.high), p=float(test.pvalue)
    )


def runs_needed(a: Components, b: Components, change: float, most: int = 1000) -> int | None:
    """Return how many runs of each model show a difference four times of five; None beyond `most`.

    By the power of the two-sided t test with as many evaluations of each run as there were.
    """
    variance = a.variance_of_a_run + b.variance_of_a_run
    if not variance:
        return FEWEST
    for runs in range(FEWEST, most + 1):
        free = 2 * (runs - 1)
        critical = float(stats.t.ppf(1 - LEVEL / 2, free))
        shift = abs(change) / math.sqrt(variance / runs)
        if float(stats.nct.sf(critical, free, shift)) >= POWER:
            return runs
    return None


def least_of(count: int) -> float:
    """Return by how many standard deviations the least of `count` normal values is below the mean.

    The expected value of the first order statistic, by numerical integration (Harter, Biometrika 48,
    1961).
    """
    x = np.linspace(-10, 10, 20_001)
    density = count * stats.norm.pdf(x) * stats.norm.sf(x) ** (count - 1)
    return -float((x * density).sum() * (x[1] - x[0]))
