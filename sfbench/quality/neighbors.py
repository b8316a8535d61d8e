"""Measures of nearest neighbors: precision, recall, density, coverage, and copies of real images.

Sources: improved precision and recall, realism (Kynkaanniemi et al., arXiv 1904.06991), density
and coverage (Naeem et al., arXiv 2002.09797), authenticity (Alaa et al., arXiv 2102.08921). All
distances are Euclidean, in float64.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sfbench.quality.influences import NORMAL_95
from sfbench.quality.kernel import parts_of, tensor
from sfbench.quality.spacing import KeptSpacing
from sfbench.quality.statistics import Rows

PART_ROWS = 256
OTHER_ROWS = 4096
"""Rows compared at once: 8 MiB of distances, which a CPU keeps in its cache."""
TIE = 1e-9
"""Relative difference of two distances that counts as rounding error."""

EQUAL = 64 * 2.0**-52
"""Squared distance, relative to the largest squared length, below which two rows are equal."""

COPY_RATIO = 1 / 3
REALISM_K = 3

Ties = Literal["<", "<="]


@dataclasses.dataclass(frozen=True, slots=True)
class Share:
    """A share of `of` images, as a count; or a mean (density), with its error."""

    value: float
    low: float
    high: float
    of: int


@dataclasses.dataclass(frozen=True, slots=True)
class Manifolds:
    """Precision, recall, density and coverage at one k and one rule for ties."""

    precision: Share
    recall: Share
    density: Share
    coverage: Share
    k: int
    ties: Ties
    tied: bool
    """Whether some distance equals a radius, so that the rule for ties matters."""


@dataclasses.dataclass(frozen=True, slots=True)
class Nearest:
    """For each generated image: its nearest real one, the distance, and two signs of copying.

    `authentic`: farther from its nearest real image than that one is from any other real image.
    `copied`: at most a third as far from its nearest real image as from the second nearest.
    """

    index: NDArray[np.int64]
    distance: NDArray[np.float64]
    authentic: NDArray[np.bool_]
    copied: NDArray[np.bool_]


def share(count: int, of: int) -> Share:
    """Return a share with Wilson's 95 % binomial interval."""
    p, z = count / of, NORMAL_95
    center = (p + z * z / (2 * of)) / (1 + z * z / of)
    half = z * math.sqrt(p * (1 - p) / of + z * z / (4 * of * of)) / (1 + z * z / of)
    low, high = center - half if count else 0.0, center + half if count < of else 1.0
    return Share(p, low, high, of)


@dataclasses.dataclass(frozen=True, slots=True)
class Points:
    """Rows [y, 1, |y|^2], so that a matrix product gives squared distances.

    [-2 x, |x|^2, 1] . [y, 1, |y|^2] = |x - y|^2: no pass over all pairs but the product itself.
    """

    extended: Tensor
    longest: float

    @classmethod
    def of(cls, rows: Tensor) -> Points:
        """Return the float64 rows, extended."""
        lengths = (rows**2).sum(dim=1, keepdim=True)
        extended = torch.cat((rows, torch.ones_like(lengths), lengths), dim=1)
        return cls(extended, float(lengths.max()) if len(rows) else 0.0)

    def parts(self) -> list[slice]:
        """Return the rows to compare with others at once, in turn."""
        return parts_of(self.extended, PART_ROWS)

    def squared(self, part: slice, others: Points) -> Tensor:
        """Return the squared distances [part, others]; zero for equal rows."""
        mine = self.extended[part]
        first = torch.cat((mine[:, :-2] * -2, mine[:, -1:], mine[:, -2:-1]), dim=1)
        found = torch.mm(first, others.extended.T)
        # For equal rows, only the rounding error of their squares remains.
        cleaned: Tensor = torch.threshold_(found, EQUAL * others.longest, 0.0)
        return cleaned


def nearest_others(rows: Rows, count: int, middle: Tensor | None = None) -> Tensor:
    """Return each row's distances to so many nearest other rows, ascending [rows, count].

    `middle`: a point amid them, their mean if it is not given. Raises ValueError if there are not as
    many.
    """
    if len(rows) <= count:
        msg = f"{len(rows)} images; more than k = {count} are needed"
        raise ValueError(msg)
    # Centered, to minimize rounding errors.
    points = Points.of(tensor(rows) - (tensor(rows).mean(dim=0) if middle is None else middle))
    found = torch.empty((len(rows), count), dtype=torch.float64)
    for part in points.parts():
        nearest = torch.topk(points.squared(part, points), count + 1, largest=False).values
        found[part] = nearest[:, 1:].sqrt()
    return found


def manifolds(
    generated: Rows, real: Rows, *, k: int, spacing: Tensor | None = None
) -> dict[Ties, Manifolds]:
    """Return the four measures for both rules, from one pass over all pairs.

    `spacing`: `nearest_others` of the real rows, k or more of them. Raises ValueError when a set
    has no k-th neighbor.
    """
    if min(len(generated), len(real)) <= k:
        msg = f"{min(len(generated), len(real))} images; more than k = {k} are needed"
        raise ValueError(msg)
    middle = tensor(real).mean(dim=0)
    real_radii, fake_radii = (
        near[:, k - 1].square()
        for near in (
            nearest_others(real, k) if spacing is None else spacing,
            nearest_others(generated, k, middle),
        )
    )
    fakes, trues = (Points.of(tensor(rows) - middle) for rows in (generated, real))
    smaller, larger = (1 - TIE) ** 2, (1 + TIE) ** 2
    within = {rule: torch.zeros(len(generated), dtype=torch.long) for rule in ("<", "<=")}
    recalled = {rule: torch.zeros(len(real), dtype=torch.bool) for rule in ("<", "<=")}
    nearest = torch.full((len(real),), math.inf, dtype=torch.float64)
    tied = False
    for part in fakes.parts():
        block = fakes.squared(part, trues)
        own = fake_radii[part, None]
        strict, loose = block < real_radii * smaller, block <= real_radii * larger
        within["<"][part], within["<="][part] = strict.sum(dim=1), loose.sum(dim=1)
        near, far = block < own * smaller, block <= own * larger
        recalled["<"] |= near.any(dim=0)
        recalled["<="] |= far.any(dim=0)
        nearest = torch.minimum(nearest, block.amin(dim=0))
        tied = tied or not torch.equal(strict, loose) or not torch.equal(near, far)
    covered = {"<": nearest < real_radii * smaller, "<=": nearest <= real_radii * larger}
    rules: tuple[Ties, Ties] = ("<", "<=")
    return {
        rule: Manifolds(
            precision=share(int((within[rule] > 0).sum()), len(generated)),
            recall=share(int(recalled[rule].sum()), len(real)),
            density=mean_share(within[rule].double() / k),
            coverage=share(int(covered[rule].sum()), len(real)),
            k=k,
            ties=rule,
            tied=tied,
        )
        for rule in rules
    }


def mean_share(values: Tensor) -> Share:
    """Return a mean with its normal interval; density may exceed 1."""
    mean = float(values.mean())
    error = float(values.std()) / math.sqrt(len(values))
    return Share(mean, max(mean - NORMAL_95 * error, 0.0), mean + NORMAL_95 * error, len(values))


def realism(
    generated: Rows, real: Rows, *, k: int, spacing: Tensor | None = None
) -> NDArray[np.float64]:
    """Return the realism of each generated row: the largest radius over distance to a real row.

    Above 1 it lies in the manifold of real rows. Only real rows with a radius below the median
    count (equation 3 and the text below it). Infinite on a real row, unless its radius is zero:
    then NaN, as there is no number. `spacing`: `nearest_others` of the real rows, k or more of
    them. Raises ValueError if a set has no k-th neighbor, or if no radius is below the median.
    """
    sizes = (nearest_others(real, k) if spacing is None else spacing)[:, k - 1]
    # The median of an even number of radii is between two, as numpy takes it.
    kept = sizes < float(np.median(sizes.numpy())) * (1 - TIE)
    if not kept.any():
        msg = "no real image has a radius below the median: all are equal"
        raise ValueError(msg)
    middle = tensor(real).mean(dim=0)
    fakes, trues = (Points.of(tensor(rows) - middle) for rows in (generated, real[kept.numpy()]))
    squares = sizes[kept].square()
    found = squares.new_empty(len(generated))
    for part in fakes.parts():
        found[part] = (squares / fakes.squared(part, trues)).amax(dim=1)
    return found.sqrt().numpy()


def median_bounds(ordered: NDArray[np.float64]) -> tuple[float, float]:
    """Return the ends of the 95 % interval of the median of ascending values, by order statistics."""
    half = NORMAL_95 * math.sqrt(len(ordered)) / 2
    middle = len(ordered) / 2
    low = max(math.floor(middle - half), 0)
    high = min(math.ceil(middle + half), len(ordered) - 1)
    return float(ordered[low]), float(ordered[high])


def nearest_real(generated: Rows, real: Rows, kept: KeptSpacing | None = None) -> Nearest:
    """Return the nearest real row of each generated row.

    Authentic: Alaa et al., section 4.3 (dgm-eval's AuthPct). Copied: the ratio of Yoon et al.,
    "Diffusion Probabilistic Models Generalize when They Fail to Memorize" (2023). `kept`: knows
    some of the distances between real rows, and keeps those that are found.
    """

    def measured(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        # A row is its own nearest one; the second is another.
        return nearest_rows(real[rows], real, 2).distance[:, 1]

    near = nearest_rows(generated, real, 2)
    two = torch.from_numpy(near.distance)
    needed, place = np.unique(near.index[:, 0], return_inverse=True)
    spacing = torch.from_numpy(measured(needed) if kept is None else kept.of(needed, measured))[
        place
    ]
    distance = two[:, 0]
    return Nearest(
        index=near.index[:, 0],
        distance=distance.numpy(),
        authentic=(distance > spacing * (1 + TIE)).numpy(),
        copied=(distance <= COPY_RATIO * two[:, 1]).numpy(),
    )


@dataclasses.dataclass(frozen=True, slots=True)
class NearestRows:
    """Numbers and distances [generated, count] of the nearest real rows, nearest first."""

    index: NDArray[np.int64]
    distance: NDArray[np.float64]


def nearest_rows(generated: Rows, real: Rows, count: int) -> NearestRows:
    """Return the nearest real rows of each generated row; memory does not grow with features."""
    middle = torch.from_numpy(real.mean(axis=0, dtype=np.float64))
    count = min(count, len(real))
    # NaN sorts last: places that are not filled yet start so.
    best = torch.full((len(generated), count), math.nan, dtype=torch.float64)
    where = torch.zeros((len(generated), count), dtype=torch.long)
    for start in range(0, len(real), OTHER_ROWS):
        others = Points.of(tensor(real[start : start + OTHER_ROWS]) - middle)
        least = min(count, len(others.extended))
        for part in parts_of(generated, PART_ROWS):
            points = Points.of(tensor(generated[part]) - middle)
            found = torch.topk(points.squared(slice(None), others), least, largest=False)
            nearest = torch.cat([best[part], found.values], dim=1)
            kept = torch.topk(nearest, count, largest=False)
            best[part] = kept.values
            places = torch.cat([where[part], found.indices + start], dim=1)
            where[part] = places.gather(1, kept.indices)
    return NearestRows(where.numpy(), best.sqrt().numpy())
