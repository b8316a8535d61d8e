"""The Frechet distance between two sets of features.

d^2 = |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2)
(Dowson and Landau 1982; Heusel et al., arXiv 1706.08500, equation 6). Named FID only for the
features of Inception-v3 with its published weights.
"""

from __future__ import annotations

import numpy as np

from sfbench.quality.statistics import Matrix, Moments


def frechet_distance(first: Moments, second: Moments) -> float:
    """Return the squared distance: real, and zero to rounding for equal sets.

    The eigenvalues of S1 S2 are those of L^T S2 L with S1 = L L^T, which is symmetric; where a
    covariance is rank-deficient (N <= D) the trace is the nuclear norm of A^T B with S = A A^T.
    """
    difference = first.mean - second.mean
    traces = np.trace(first.covariance) + np.trace(second.covariance)
    return float(difference @ difference + traces - 2 * trace_of_root(first, second))


def trace_of_root(first: Moments, second: Moments) -> float:
    """Return tr (S1 S2)^(1/2)."""
    dimension = len(first.mean)
    if min(first.count, second.count) > dimension and not np.array_equal(
        first.covariance, second.covariance
    ):
        try:
            lower = np.linalg.cholesky(first.covariance)
        except np.linalg.LinAlgError:
            pass
        else:
            values = np.linalg.eigvalsh(lower.T @ second.covariance @ lower)
            if values[0] > dimension * np.finfo(np.float64).eps * values[-1]:
                return float(np.sqrt(values).sum())
    product = square_root_factor(first.covariance).T @ square_root_factor(second.covariance)
    return float(np.linalg.svd(product, compute_uv=False).sum())


def square_root_factor(covariance: Matrix) -> Matrix:
    """Return A [D, rank] with A A^T the covariance, dropping what rounding alone left."""
    values, vectors = np.linalg.eigh(covariance)
    kept = values > len(values) * np.finfo(np.float64).eps * values[-1]
    factor: Matrix = vectors[:, kept] * np.sqrt(values[kept])
    return factor
