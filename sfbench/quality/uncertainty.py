"""Uncertainty of a Frechet distance: its standard error, its bias, and debiased estimates."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from sfbench.quality.frechet import frechet_distance, optimal_maps
from sfbench.quality.influences import NORMAL_95, Array, mean_variance
from sfbench.quality.statistics import CHUNK_ROWS, Matrix, Moments, Rows, moments_of

HALVES_SEED = 2020
ENOUGH_FOR_BIAS = 4
"""Images per feature above which a Frechet distance's bias is of order 1/N, hence removable."""
INFINITY_POINTS = 15
INFINITY_SEED = 0
INFINITY_LEAST = 5000


@dataclasses.dataclass(frozen=True, slots=True)
class Estimate:
    """A value and its standard error; None if unknown."""

    value: float
    error: float | None

    def bounds(self) -> tuple[float | None, float | None]:
        """Return the ends of the 95 % interval."""
        if self.error is None:
            return None, None
        return self.value - NORMAL_95 * self.error, self.value + NORMAL_95 * self.error


def frechet_error(
    generated: Rows, first: Moments, real: Rows | None, second: Moments
) -> float | None:
    """Return the standard error of the Frechet distance from the influence of each sample.

    The influence of a sample x of the first set, u = x - m1, is
    2 (m1 - m2).u + u^T (I - T) u - tr (I - T) S1, with T the optimal map between the Gaussians
    (first variation of the distance). Both sets count; without the real features (reference
    moments only) those count as exact. None with two samples or fewer.
    """
    if min(first.count, second.count) <= 2:  # noqa: PLR2004  # no spread to speak of
        return None
    return error_of(*frechet_influences(generated, first, real, second))


def error_of(own: Array, theirs: Array | None) -> float:
    """Return the standard error that influences of generated and of real samples amount to."""
    return float(np.sqrt(sum(mean_variance(one) for one in (own, theirs) if one is not None)))


def frechet_influences(
    generated: Rows, first: Moments, real: Rows | None, second: Moments
) -> tuple[Array, Array | None]:
    """Return the influence of each generated and of each real sample; None without real ones."""
    there, back = optimal_maps(first, second)
    own = influences(generated, first, second.mean, there)
    return own, None if real is None else influences(real, second, first.mean, back)


def influences(rows: Rows, own: Moments, other_mean: Matrix, move: Matrix) -> Array:
    """Return the influence of each sample [samples] on the distance, but for a constant."""
    remainder = torch.from_numpy(np.eye(len(move)) - move)
    shift = 2 * (own.mean - other_mean)
    influence = np.empty(len(rows))
    for start in range(0, len(rows), CHUNK_ROWS):
        centered = rows[start : start + CHUNK_ROWS].astype(np.float64) - own.mean
        moved = (torch.from_numpy(centered) @ remainder).numpy()
        quadratic = np.einsum("nd,nd->n", moved, centered)
        influence[start : start + CHUNK_ROWS] = centered @ shift + quadratic
    return influence


def richardson_frechet(generated: Rows, real: Rows | Moments, plain: float) -> float:
    """Return the distance without its bias of order 1/N: 2 d(N) - mean of d over two halves.

    The halves are a seeded permutation of the rows. Real features are halved with the generated
    ones, so that the bias of both cancels; moments instead count as exact. Meaningful only if
    a half has far more samples than features.
    """
    others = [real, real] if isinstance(real, Moments) else list(map(moments_of, halves(real)))
    distances = [
        frechet_distance(moments_of(part), other)
        for part, other in zip(halves(generated), others, strict=True)
    ]
    return 2 * plain - float(np.mean(distances))


def halves(rows: Rows) -> tuple[Rows, Rows]:
    """Return two disjoint halves of the rows, drawn with a fixed seed."""
    order = np.random.RandomState(HALVES_SEED).permutation(len(rows))
    middle = len(rows) // 2
    return rows[np.sort(order[:middle])], rows[np.sort(order[middle : 2 * middle])]


def frechet_infinity(generated: Rows, second: Moments, points: int = INFINITY_POINTS) -> Estimate:
    """Return the distance extrapolated to infinitely many generated samples, and its fit's error.

    A line over 1/N through distances at `points` sample counts (Chong and Forsyth, arXiv
    1911.07023), with the counts and draws of dgm-eval and a fixed seed; the reference is taken as
    exact.
    """
    count = len(generated)
    least = min(INFINITY_LEAST, max(count // 10, 2))
    source = np.random.default_rng(INFINITY_SEED)
    sizes = np.linspace(least, count, points).astype(np.int32)
    distances = np.array(
        [
            frechet_distance(moments_of(source.choice(generated, size, replace=False)), second)
            for size in sizes
        ]
    )
    design = np.stack([np.ones(points), 1 / sizes], axis=1)
    solution, *_ = np.linalg.lstsq(design, distances, rcond=None)
    residual = distances - design @ solution
    covariance = np.linalg.inv(design.T @ design) * (residual @ residual) / (points - 2)
    return Estimate(float(solution[0]), float(np.sqrt(covariance[0, 0])))
