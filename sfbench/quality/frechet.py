"""The Frechet distance between two sets of features, and the map that its uncertainty rests on.

d^2 = |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2)
(Dowson and Landau 1982; Heusel et al., arXiv 1706.08500, equation 6). Named FID only for the
features of Inception-v3 with its published weights.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch

from sfbench.quality.statistics import Matrix, Moments

ROUNDING = 64 * 2.0**-52
"""Fraction of the largest eigenvalue that rounding may leave of a zero one."""

Algebra = Literal["exact", "eigvals", "sqrtm"]
"""How tr (S1 S2)^(1/2) is computed: exactly, or as other packages do."""


def frechet_distance(first: Moments, second: Moments, algebra: Algebra = "exact") -> float:
    """Return the squared distance: real, and zero to rounding for equal sets.

    `eigvals` and `sqrtm` repeat what other packages compute, which is off by about 1e-4 where there
    are fewer samples than dimensions.
    """
    difference = first.mean - second.mean
    traces = np.trace(first.covariance) + np.trace(second.covariance)
    root = {"exact": trace_of_root, "eigvals": trace_by_eigvals, "sqrtm": trace_by_sqrtm}[algebra]
    return float(difference @ difference + traces - 2 * root(first, second))


def trace_of_root(first: Moments, second: Moments) -> float:
    """Return tr (S1 S2)^(1/2).

    The eigenvalues of S1 S2 are those of L^T S2 L with S1 = L L^T, which is symmetric; where a
    covariance is rank-deficient the trace is the nuclear norm of A^T B with S = A A^T. The fast way
    has a relative error below 1e-12 up to condition numbers of 1e13; it is not used if an
    eigenvalue is within rounding error, since its square root would matter.
    """
    dimension = len(first.mean)
    if min(first.count, second.count) > dimension and not np.array_equal(
        first.covariance, second.covariance
    ):
        lower, failed = torch.linalg.cholesky_ex(torch.from_numpy(first.covariance))
        if not failed:
            product = lower.T @ torch.from_numpy(second.covariance) @ lower
            values = torch.linalg.eigvalsh(product)
            if values[0] > ROUNDING * values[-1]:
                return float(values.sqrt().sum())
    factors = square_root_factor(first.covariance), square_root_factor(second.covariance)
    return float(torch.linalg.svdvals(factors[0].T @ factors[1]).sum())


def square_root_factor(covariance: Matrix) -> torch.Tensor:
    """Return A [D, rank], float64, with A A^T the covariance up to rounding."""
    values, vectors = torch.linalg.eigh(torch.from_numpy(covariance))
    kept = values > len(values) * np.finfo(np.float64).eps * values[-1]
    factor: torch.Tensor = vectors[:, kept] * values[kept].sqrt()
    return factor


def trace_by_eigvals(first: Moments, second: Moments) -> float:
    """Return the trace by torch-fidelity and torchmetrics: real roots of general eigenvalues."""
    values = np.linalg.eigvals(first.covariance @ second.covariance)
    return float(np.sqrt(values.astype(np.complex128)).real.sum())


def trace_by_sqrtm(first: Moments, second: Moments) -> float:
    """Return the trace by packages built on scipy: the real trace of a matrix square root."""
    from scipy import linalg  # slow to import

    root = linalg.sqrtm(first.covariance @ second.covariance)
    if not np.isfinite(root).all():
        offset = np.eye(len(first.mean)) * 1e-6
        root = linalg.sqrtm((first.covariance + offset) @ (second.covariance + offset))
    return float(np.trace(root).real)


def optimal_maps(first: Moments, second: Moments) -> tuple[Matrix, Matrix]:
    """Return T [D, D] that carries the first Gaussian onto the second, and the way back.

    T = R^-1 (R S2 R)^(1/2) R^-1 with R = S1^(1/2); directions that a set does not span are left
    out (pseudo-inverse).
    """
    values, vectors = torch.linalg.eigh(torch.from_numpy(first.covariance))
    kept = values > len(values) * np.finfo(np.float64).eps * values[-1]
    basis = vectors[:, kept]
    root = values[kept].sqrt()
    middle = root[:, None] * (basis.T @ torch.from_numpy(second.covariance) @ basis) * root
    inner, directions = torch.linalg.eigh(middle)
    some = inner > len(inner) * np.finfo(np.float64).eps * inner[-1]
    out = (basis / root) @ directions[:, some] * inner[some] ** 0.25
    back = (basis * root) @ directions[:, some] * inner[some] ** -0.25
    return (out @ out.T).numpy(), (back @ back.T).numpy()
