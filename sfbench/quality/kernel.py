"""The kernel distance: squared maximum mean discrepancy with the cubic kernel (x.y / D + 1)^3.

Source: Binkowski et al., "Demystifying MMD GANs" (arXiv 1801.01401, section 4.1). Named KID only
for the features of Inception-v3 with its published weights.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from sfbench.quality.statistics import Matrix, Rows

SUBSETS = 100
SUBSET_SIZE = 1000
SUBSET_SEED = 2020


@dataclasses.dataclass(frozen=True, slots=True)
class KernelDistance:
    """Mean and population standard deviation over subsets; None where there is but one subset."""

    mean: float
    deviation: float | None
    subsets: int
    subset_size: int


def kernel_distance(
    generated: Rows,
    real: Rows,
    *,
    subsets: int = SUBSETS,
    subset_size: int = SUBSET_SIZE,
    seed: int = SUBSET_SEED,
) -> KernelDistance:
    """Return the unbiased estimate over random subsets, computed in float64.

    Subsets are those of torch-fidelity: RandomState(seed), generated rows drawn before real ones,
    without replacement. They shrink to the smaller set; where that makes every subset the whole of
    both sets, it is taken once.
    """
    size = min(subset_size, len(generated), len(real))
    if size == len(generated) == len(real):
        whole = unbiased_discrepancy(generated.astype(np.float64), real.astype(np.float64))
        return KernelDistance(whole, None, 1, size)
    source = np.random.RandomState(seed)
    values = []
    for _ in range(subsets):
        first = generated[source.choice(len(generated), size, replace=False)]
        second = real[source.choice(len(real), size, replace=False)]
        values.append(unbiased_discrepancy(first.astype(np.float64), second.astype(np.float64)))
    return KernelDistance(float(np.mean(values)), float(np.std(values)), subsets, size)


def unbiased_discrepancy(first: Matrix, second: Matrix) -> float:
    """Return the unbiased estimate of the squared discrepancy (equation 4) of two samples."""
    within = 0.0
    for rows in (first, second):
        kernel = cubic_kernel(rows, rows)
        count = len(rows)
        within += (kernel.sum() - np.trace(kernel)) / (count * (count - 1))
    return float(within - 2 * cubic_kernel(first, second).mean())


def cubic_kernel(first: Matrix, second: Matrix) -> Matrix:
    """Return (x.y / D + 1)^3 for every pair of rows."""
    kernel: Matrix = (first @ second.T / first.shape[1] + 1) ** 3
    return kernel
