"""Show what the error bars of a Frechet distance are worth: `python scripts/uncertainty.py`.

Draws samples of two known Gaussians again and again. Prints, for each number of samples, the mean
standard error beside the standard deviation over repeats (goal: within 25 %), and the bias of the
plain, the extrapolated and the halved (Richardson) estimate beside the true distance (goal: the
last at most a tenth of the first). Exits 1 where a goal is missed.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

from sfbench.quality.frechet import frechet_distance, optimal_maps
from sfbench.quality.statistics import Matrix, Moments, Rows, moments_of
from sfbench.quality.uncertainty import frechet_error, frechet_infinity, richardson_frechet

ENDLESS = 1 << 40
ERROR_GOAL = 0.25
BIAS_GOAL = 0.1


def populations(width: int, source: np.random.Generator) -> tuple[Moments, Moments, Matrix, Matrix]:
    """Return two Gaussians, a little apart, and factors of their covariances."""
    rotation, _ = np.linalg.qr(source.normal(size=(width, width)))
    first = rotation * np.exp(-np.arange(width) / 20)
    second = (np.eye(width) + 0.05 * source.normal(size=(width, width))) @ first
    means = np.zeros(width), 0.02 * source.normal(size=width)
    moments = [
        Moments(ENDLESS, mean, factor @ factor.T)
        for mean, factor in zip(means, (first, second), strict=True)
    ]
    return moments[0], moments[1], first, second


def drawn(moments: Moments, factor: Matrix, count: int, source: np.random.Generator) -> Rows:
    """Return samples of a Gaussian."""
    rows = source.normal(size=(count, len(factor))) @ factor.T + moments.mean
    return rows.astype(np.float32)


def chance(rows: Rows, own: Moments, other: Moments, move: Matrix) -> float:
    """Return the part of the estimate that is chance to first order: its expectation is zero.

    The mean influence of these samples at the true Gaussians; taking it away lets few repeats show a
    small bias.
    """
    centered = rows - own.mean
    remainder = np.eye(len(move)) - move
    quadratic = np.einsum("nd,nd->n", centered @ remainder, centered)
    expected = np.trace(remainder @ own.covariance)
    linear = centered @ (2 * (own.mean - other.mean))
    return float((linear + quadratic - expected).mean())


def main() -> None:
    """Print one line per number of samples and kind of reference."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--counts", default="500,2000,8000")
    arguments = parser.parse_args()
    source = np.random.default_rng(0)
    real, generated, real_factor, factor = populations(arguments.width, source)
    truth = frechet_distance(generated, real)
    print(f"D = {arguments.width}, true distance {truth:.5f}, {arguments.repeats} repeats")
    there, back = optimal_maps(generated, real)
    good = True
    for count in map(int, arguments.counts.split(",")):
        for both in (False, True):
            found = []
            for _ in range(arguments.repeats):
                rows = drawn(generated, factor, count, source)
                others = drawn(real, real_factor, count, source) if both else None
                reference = real if others is None else moments_of(others)
                own = moments_of(rows)
                plain = frechet_distance(own, reference)
                error = frechet_error(rows, own, others, reference)
                halved = richardson_frechet(rows, reference if others is None else others, plain)
                line = frechet_infinity(rows, reference).value
                luck = chance(rows, generated, real, there)
                luck += 0.0 if others is None else chance(others, real, generated, back)
                found.append((plain, error, halved, line, luck))
            plain, error, halved, line, luck = np.array(found, dtype=np.float64).T
            ratio = error.mean() / plain.std(ddof=1)
            bias, left, far = (
                (estimate - luck).mean() - truth for estimate in (plain, halved, line)
            )
            noise = (halved - luck).std(ddof=1) / np.sqrt(len(halved))
            # A value that the repeats cannot distinguish from zero is not a bias.
            fair = abs(left) <= max(BIAS_GOAL * abs(bias), 2 * noise)
            kept = abs(ratio - 1) <= ERROR_GOAL and fair
            good &= kept
            print(
                f"N = {count:5}, {'both drawn' if both else 'exact reference':15}: "
                f"SD {plain.std(ddof=1):.5f}, SE {error.mean():.5f} ({ratio:.2f} of it); bias "
                f"{bias:+.5f}, halved {left:+.5f} ({abs(left / bias):.1%}, noise {noise:.5f}), "
                f"infinity {far:+.5f}  {'ok' if kept else 'MISSED'}",
                flush=True,
            )
    sys.exit(not good)


if __name__ == "__main__":
    main()
