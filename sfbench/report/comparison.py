"""Whether B differs from A: interleaved quads, an exact test, an interval, a margin, a verdict.

Ratios are B over A. A quad is A, B, B, A in new processes, one after the other: slow drift
affects both sides equally. The unit of analysis is the quad, never a call or a block. Nothing here
measures.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from scipy import stats

from sfbench.quality.influences import NORMAL_95, Difference

Verdict = Literal["faster", "slower", "same", "inconclusive"]
LEAST_MARGIN = 0.03
LARGEST_MARGIN = 0.10
"""Beyond it a machine is too noisy for any verdict, unless --margin-limit allows it."""
NOISE_MARGIN = 3.0
ALPHA = 0.05
MOST_EXACT = 20
FLIPS = 200_000
BOOTSTRAPS = 10_000
FEWEST_TRIALS = 2
UNCLEAR = 0.5
"""Standard error of the logarithm of a ratio from which on a side is within two of zero."""


@dataclasses.dataclass(frozen=True, slots=True)
class Quad:
    """Four new processes in the order A, B, B, A: one positive number each."""

    a: tuple[float, float]
    b: tuple[float, float]

    @property
    def log_ratio(self) -> float:
        """Mean log of B less that of A."""
        return (sum(map(math.log, self.b)) - sum(map(math.log, self.a))) / 2


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """B over A: the ratio, its 95 % interval, the p-value, and the noise.

    `noise`: standard error of the log ratio that identical code shows here. `p` is adjusted where
    several cases were compared together. `limit`: the largest margin that a verdict may rest on.
    """

    ratio: float
    low: float
    high: float
    p: float
    noise: float
    units: int
    limit: float = LARGEST_MARGIN

    @property
    def margin(self) -> float:
        """The least difference that counts: 3 %, or three times the machine's own noise."""
        return max(LEAST_MARGIN, math.expm1(NOISE_MARGIN * self.noise))

    @property
    def noisy(self) -> bool:
        """Whether the machine is too noisy for a verdict."""
        return self.margin > self.limit

    @property
    def resolvable(self) -> float:
        """The smallest true difference that would be detected 95 times in 100."""
        return self.margin + float(stats.norm.ppf(0.95)) * self.noise

    def verdict(self, *, higher_is_better: bool = True) -> Verdict:
        """Return the verdict on B: inconclusive where the margin is beyond its limit."""
        if self.noisy:
            return "inconclusive"
        limit = math.log1p(self.margin)
        change = math.log(self.ratio)
        if self.p <= ALPHA and abs(change) > limit:
            return "faster" if (change > 0) == higher_is_better else "slower"
        if -limit <= math.log(self.low) and math.log(self.high) <= limit:
            return "same"
        return "inconclusive"


def of_quads(quads: Sequence[Quad], noise: float | None = None) -> Comparison:
    """Return the comparison of these quads; `noise` of one quad, if known from an A/A run.

    The quads' own pairs (A against A, B against B) estimate it too: the larger counts, for a
    machine may be noisier than when its noise was measured.
    """
    logs = [quad.log_ratio for quad in quads]
    one = max(own_noise(quads), noise or 0.0)
    low, high = bootstrap_interval(logs)
    return Comparison(
        ratio=math.exp(sum(logs) / len(logs)),
        low=math.exp(low),
        high=math.exp(high),
        p=sign_flip_p(logs),
        noise=one / math.sqrt(len(logs)),
        units=len(logs),
    )


def own_noise(quads: Sequence[Quad]) -> float:
    """Return the standard deviation of one quad's log ratio between equals, from its own pairs.

    A process's log has the standard deviation s, estimated by the differences of the pairs
    (variance 2 s^2); a quad's ratio is the difference of two means of two: variance s^2.
    """
    differences = [math.log(x / y) for quad in quads for x, y in (quad.a, quad.b)]
    return math.sqrt(sum(d * d for d in differences) / (2 * len(differences)))


def sign_flip_p(values: Sequence[float]) -> float:
    """Return the two-sided p of the mean under random signs: all of them, or 200,000 draws.

    The exact test of Fisher (The Design of Experiments, 1935, section 21); under equality each
    quad's log ratio is as likely as its negative.
    """
    count = len(values)
    array = np.asarray(values)
    if count <= MOST_EXACT:
        bits = (np.arange(1 << count)[:, None] >> np.arange(count)) & 1
        means = (1 - 2 * bits) @ array
    else:
        signs = np.random.default_rng(0).choice((-1, 1), size=(FLIPS, count))
        means = np.append(signs @ array, array.sum())
    return float(np.mean(np.abs(means) >= abs(array.sum()) * (1 - 1e-12)))


def fewest_quads(cases: int) -> int:
    """Return how many quads the exact test needs to reach 5 % for each of `cases` cases."""
    return math.ceil(math.log2(2 * cases / ALPHA))


def bootstrap_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of the mean."""
    draws = np.random.default_rng(0).choice(values, size=(BOOTSTRAPS, len(values))).mean(axis=1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(low), float(high)


def of_trials(a: Sequence[float], b: Sequence[float]) -> Comparison | None:
    """Return the comparison of stored trials, which were not interleaved; None with too few.

    Welch's t on logs: the unit is the process.
    """
    if min(len(a), len(b)) < FEWEST_TRIALS or min(*a, *b) <= 0:
        return None
    first, second = np.log(a), np.log(b)
    if max(np.ptp(first), np.ptp(second)) == 0:
        ratio = b[0] / a[0]
        return Comparison(
            ratio=ratio, low=ratio, high=ratio, p=float(ratio == 1), noise=0.0, units=len(a)
        )
    test = stats.ttest_ind(second, first, equal_var=False)
    bounds = test.confidence_interval(0.95)
    spread = math.sqrt(first.var(ddof=1) / len(a) + second.var(ddof=1) / len(b))
    return Comparison(
        ratio=math.exp(second.mean() - first.mean()),
        low=math.exp(bounds.low),
        high=math.exp(bounds.high),
        p=float(test.pvalue),
        noise=spread,
        units=min(len(a), len(b)),
    )


def of_intervals(a: tuple[float, float, float], b: tuple[float, float, float]) -> Comparison | None:
    """Return the comparison of two positive values with 95 % intervals (value, low, high)."""
    if min(a[0], b[0]) <= 0:
        return None
    two_sided = float(stats.norm.ppf(0.975))
    errors = [(high - low) / (2 * two_sided) / value for value, low, high in (a, b)]
    spread = math.hypot(*errors)
    change = math.log(b[0] / a[0])
    p = 2 * float(stats.norm.sf(abs(change) / spread)) if spread else float(change == 0)
    return Comparison(
        ratio=b[0] / a[0],
        low=math.exp(change - two_sided * spread),
        high=math.exp(change + two_sided * spread),
        p=p,
        noise=0.0,
        units=1,
    )


def of_difference(found: Difference) -> Comparison | None:
    """Return the comparison of two values whose difference is known.

    None unless both are positive and clear of zero: else their ratio says nothing.
    """
    if found.log_error is None or found.log_error > UNCLEAR:
        return None
    change = math.log(found.b / found.a)
    half = NORMAL_95 * found.log_error
    return Comparison(
        ratio=found.b / found.a,
        low=math.exp(change - half),
        high=math.exp(change + half),
        p=found.p,
        noise=0.0,
        units=found.images,
    )


def holm(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Return the comparisons with p adjusted for their number (Holm, 1979)."""
    order = sorted(range(len(comparisons)), key=lambda i: comparisons[i].p)
    adjusted = list(comparisons)
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, comparisons[index].p * (len(comparisons) - rank)))
        adjusted[index] = dataclasses.replace(comparisons[index], p=largest)
    return adjusted
