"""Sliced Wasserstein distances: features projected onto lines, where optimal transport is sorting.

MIND: the mean squared distance over random lines (Berthet et al., "MIND: Monge Inception Distance
for Generative Models Evaluation", arXiv 2605.06797), as torch-fidelity computes it. The closed form
without lines: Nadjahi et al., "Fast Approximation of the Sliced-Wasserstein Distance Using
Concentration of Random Projections" (arXiv 2106.15427), as dgm-eval computes it.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sfbench.quality.statistics import CHUNK_ROWS, Moments, Rows
from sfbench.quality.uncertainty import Estimate

DIRECTIONS = 1000
SEED = 2020
BLOCK_BYTES = 1 << 23
SCALE = 3
"""Times the number of features: it makes values about as large as a Frechet distance's."""


def monge_distance(
    generated: Rows, real: Rows, *, directions: int = DIRECTIONS, seed: int = SEED
) -> Estimate:
    """Return MIND, 3 D times the mean over directions of the squared 1-D Wasserstein distance.

    Directions, and the rows drawn from the larger set where the sets differ in size, are those of
    torch-fidelity, in float32; all else is float64. The standard error comes from each row's
    Kantorovich potential (del Barrio and Loubes, arXiv 1705.01299), averaged over directions; it is
    that of new images, with these directions. None with two rows or fewer.
    """
    source = torch.Generator().manual_seed(seed)
    count, width = min(len(generated), len(real)), generated.shape[1]
    first, second = (equal_part(rows, count, source) for rows in (generated, real))
    lines = torch.randn(directions, width, generator=source)
    lines /= lines.norm(dim=1, keepdim=True).clamp(min=1e-12)
    total = 0.0
    potentials = [torch.zeros(count, dtype=torch.float64) for _ in range(2)]
    size = max(BLOCK_BYTES // (8 * count), 1)
    for start in range(0, directions, size):
        part = lines[start : start + size].double()
        (mine, order), (theirs, others) = (
            torch.sort(projected(rows, part), dim=1) for rows in (first, second)
        )
        apart = mine - theirs
        total += float(apart.square().sum())
        for potential, where, places, sign in zip(
            potentials, (mine, theirs), (order, others), (1, -1), strict=True
        ):
            along = sign * potential_of(apart, where)
            potential.add_(torch.zeros_like(along).scatter_(1, places, along).sum(dim=0))
    value = SCALE * width * total / (count * directions)
    if count <= 2:  # noqa: PLR2004  # no spread to speak of
        return Estimate(value, None)
    scale = SCALE * width / directions
    variance = sum(float((scale * one).var()) / count for one in potentials)
    return Estimate(value, math.sqrt(variance))


def equal_part(rows: Rows, count: int, source: torch.Generator) -> Rows:
    """Return all rows, or a random part of the larger set."""
    if len(rows) == count:
        return rows
    drawn: Rows = rows[torch.randperm(len(rows), generator=source)[:count].numpy()]
    return drawn


def projected(rows: Rows, lines: Tensor) -> Tensor:
    """Return the rows along every line [lines, rows], float64."""
    starts = range(0, len(rows), CHUNK_ROWS)
    parts = (torch.from_numpy(rows[start : start + CHUNK_ROWS]).double() for start in starts)
    return torch.cat([lines @ part.T for part in parts], dim=1)


def potential_of(apart: Tensor, where: Tensor) -> Tensor:
    """Return the Kantorovich potential at sorted places: the integral of twice the displacement.

    But for a constant for each line, which no variance needs: each is centered.
    """
    steps = (apart[:, 1:] + apart[:, :-1]) * where.diff(dim=1)
    found = torch.cat([torch.zeros_like(apart[:, :1]), steps.cumsum(dim=1)], dim=1)
    return found - found.mean(dim=1, keepdim=True)


def approximate_sliced_distance(
    generated: Rows, first: Moments, real: Rows | None, second: Moments
) -> Estimate:
    """Return sqrt(|m1 - m2|^2 / D + (sqrt s1 - sqrt s2)^2), s the mean of |x - m|^2 / D.

    The sliced distance of order two in high dimensions, not squared. Its standard error comes from
    the influence of each row; None where the value is zero. Without real features (`real` None)
    their moments count as exact.
    """
    width = len(first.mean)
    shift = first.mean - second.mean
    spreads = [
        np.trace(moments.covariance) * (moments.count - 1) / (moments.count * width)
        for moments in (first, second)
    ]
    roots = [math.sqrt(spread) for spread in spreads]
    value = math.sqrt(shift @ shift / width + (roots[0] - roots[1]) ** 2)
    if not value or not all(roots) or min(first.count, second.count) <= 2:  # noqa: PLR2004
        return Estimate(value, None)
    variance = 0.0
    for rows, moments, sign, other in (
        (generated, first, 1, roots[1] / roots[0]),
        (real, second, -1, roots[0] / roots[1]),
    ):
        if rows is not None:
            influence = influence_of(rows, moments, sign * shift, 1 - other)
            variance += float(influence.var(ddof=1)) / len(rows)
    return Estimate(value, math.sqrt(variance) / (2 * value))


def influence_of(
    rows: Rows, moments: Moments, shift: NDArray[np.float64], weight: float
) -> NDArray[np.float64]:
    """Return each row's influence on the squared distance, but for a constant."""
    width = len(moments.mean)
    found = np.empty(len(rows))
    for start in range(0, len(rows), CHUNK_ROWS):
        centered = rows[start : start + CHUNK_ROWS].astype(np.float64) - moments.mean
        squares = np.einsum("nd,nd->n", centered, centered)
        found[start : start + CHUNK_ROWS] = (2 * centered @ shift + weight * squares) / width
    return found
