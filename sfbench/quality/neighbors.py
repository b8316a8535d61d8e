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
from sfbench.quality.kernel import tensor
from sfbench.quality.statistics import Rows

BLOCK_BYTES = 1 << 26
PART_ROWS = 1024
OTHER_ROWS = 8192
TIE = 1e-9
"""Relative difference of two distances that counts as rounding error."""

EQUAL = 64 * 2.0**-52
"""Squared distance, relative to the largest squared length, below which two rows are equal."""

COPY_RATIO = 1 / 3

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


def distances(first: Tensor, second: Tensor) -> Tensor:
    """Return Euclidean distances [first, second] of float64 rows."""
    lengths = (second**2).sum(dim=1)
    squared = torch.mm(first, second.T).mul_(-2).add_(lengths)
    squared.add_((first**2).sum(dim=1, keepdim=True))
    # For equal rows, only the rounding error of their squares remains.
    least = EQUAL * float(lengths.max())
    cleaned: Tensor = torch.threshold_(squared, least, 0.0)
    return cleaned.sqrt_()


def block_rows(others: Tensor) -> int:
    """Return how many rows to compare with all the others at once: 64 MiB of distances."""
    return max(BLOCK_BYTES // (8 * len(others)), 1)


def radii(rows: Tensor, k: int) -> Tensor:
    """Return each row's distance to its k-th nearest other row."""
    return torch.cat(
        [
            distances(part, rows).kthvalue(k + 1, dim=1).values
            for part in torch.split(rows, block_rows(rows))
        ]
    )


def manifolds(generated: Rows, real: Rows, *, k: int) -> dict[Ties, Manifolds]:
    """Return the four measures for both rules, from one pass over all pairs.

    Raises ValueError when a set has no k-th neighbor.
    """
    if min(len(generated), len(real)) <= k:
        msg = f"{min(len(generated), len(real))} images; more than k = {k} are needed"
        raise ValueError(msg)
    # Centered, to minimize rounding errors.
    true = tensor(real)
    middle = true.mean(dim=0)
    fake, true = tensor(generated) - middle, true - middle
    real_radii, fake_radii = radii(true, k), radii(fake, k)
    within = {rule: torch.zeros(len(fake), dtype=torch.long) for rule in ("<", "<=")}
    recalled = {rule: torch.zeros(len(true), dtype=torch.bool) for rule in ("<", "<=")}
    nearest = torch.full((len(true),), math.inf, dtype=torch.float64)
    tied = False
    size = block_rows(true)
    for start in range(0, len(fake), size):
        part = slice(start, start + size)
        block = distances(fake[part], true)
        own = fake_radii[part, None]
        strict, loose = block < real_radii * (1 - TIE), block <= real_radii * (1 + TIE)
        within["<"][part], within["<="][part] = strict.sum(dim=1), loose.sum(dim=1)
        near, far = block < own * (1 - TIE), block <= own * (1 + TIE)
        recalled["<"] |= near.any(dim=0)
        recalled["<="] |= far.any(dim=0)
        nearest = torch.minimum(nearest, block.min(dim=0).values)
        tied = tied or not torch.equal(strict, loose) or not torch.equal(near, far)
    covered = {"<": nearest < real_radii * (1 - TIE), "<=": nearest <= real_radii * (1 + TIE)}
    rules: tuple[Ties, Ties] = ("<", "<=")
    return {
        rule: Manifolds(
            precision=share(int((within[rule] > 0).sum()), len(fake)),
            recall=share(int(recalled[rule].sum()), len(true)),
            density=mean_share(within[rule].double() / k),
            coverage=share(int(covered[rule].sum()), len(true)),
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


def realism(generated: Rows, real: Rows, *, k: int) -> NDArray[np.float64]:
    """Return the realism of each generated row: the largest radius over distance to a real row.

    Above 1 it lies in the manifold of real rows. Only real rows with a radius below the median
    count (equation 3 and the text below it). Infinite on a real row, unless its radius is zero:
    then NaN, as there is no number. Raises ValueError if a set has no k-th neighbor, or if no
    radius is below the median.
    """
    if len(real) <= k:
        msg = f"{len(real)} images; more than k = {k} are needed"
        raise ValueError(msg)
    true = tensor(real)
    middle = true.mean(dim=0)
    fake, true = tensor(generated) - middle, true - middle
    sizes = radii(true, k)
    # The median of an even number of radii is between two, as numpy takes it.
    kept = sizes < float(np.median(sizes.numpy())) * (1 - TIE)
    if not kept.any():
        msg = "no real image has a radius below the median: all are equal"
        raise ValueError(msg)
    true, sizes = true[kept], sizes[kept]
    parts = torch.split(fake, block_rows(true))
    return torch.cat([(sizes / distances(part, true)).amax(dim=1) for part in parts]).numpy()


def median_bounds(ordered: NDArray[np.float64]) -> tuple[float, float]:
    """Return the ends of the 95 % interval of the median of ascending values, by order statistics."""
    half = NORMAL_95 * math.sqrt(len(ordered)) / 2
    middle = len(ordered) / 2
    low = max(math.floor(middle - half), 0)
    high = min(math.ceil(middle + half), len(ordered) - 1)
    return float(ordered[low]), float(ordered[high])


def nearest_real(generated: Rows, real: Rows) -> Nearest:
    """Return the nearest real row of each generated row.

    Authentic: Alaa et al., section 4.3 (dgm-eval's AuthPct). Copied: the ratio of Yoon et al.,
    "Diffusion Probabilistic Models Generalize when They Fail to Memorize" (2023).
    """
    near = nearest_rows(generated, real, 2)
    two = torch.from_numpy(near.distance)
    needed, place = np.unique(near.index[:, 0], return_inverse=True)
    # A row is its own nearest one; the second is another.
    spacing = torch.from_numpy(nearest_rows(real[needed], real, 2).distance[:, 1])[place]
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
    """Return the nearest real rows of each generated row; memory does not grow with either."""
    fake, true = torch.from_numpy(generated), torch.from_numpy(real)
    middle = torch.from_numpy(real.mean(axis=0, dtype=np.float64))
    values, indices = [], []
    for part in torch.split(fake, PART_ROWS):
        own = part.double() - middle
        best = torch.empty((len(own), 0), dtype=torch.float64)
        where = torch.empty((len(own), 0), dtype=torch.long)
        for start in range(0, len(true), OTHER_ROWS):
            others = true[start : start + OTHER_ROWS].double() - middle
            found = torch.topk(distances(own, others), min(count, len(others)), largest=False)
            best = torch.cat([best, found.values], dim=1)
            where = torch.cat([where, found.indices + start], dim=1)
            kept = torch.topk(best, min(count, best.shape[1]), largest=False)
            best, where = kept.values, where.gather(1, kept.indices)
        values.append(best)
        indices.append(where)
    return NearestRows(torch.cat(indices).numpy(), torch.cat(values).numpy())
