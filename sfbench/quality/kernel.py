"""Kernel distances: squared maximum mean discrepancies over subsets, or over whole sets.

With the cubic kernel (x.y / D + 1)^3: Binkowski et al., "Demystifying MMD GANs" (arXiv 1801.01401,
section 4.1), named KID only for the features of Inception-v3 with its published weights. With a
Gaussian kernel on unit vectors: CMMD (Jayasumana et al., arXiv 2401.09603).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sfbench.quality.statistics import Matrix, Rows

SUBSETS = 100
SUBSET_SIZE = 1000
SUBSET_SEED = 2020
MOST_ROWS = 10_000
BLOCK_BYTES = 1 << 26
CMMD_SIGMA = 10.0
CMMD_SCALE = 1000.0

Draws = Literal["numpy-generated-first", "numpy-real-first", "torch-real-first"]
"""Which package's random generator draws subsets, and from which set first."""

Kernel = Callable[[Tensor, Tensor], Tensor]
Numbers = NDArray[np.int64]


@dataclasses.dataclass(frozen=True, slots=True)
class KernelDistance:
    """Mean and population standard deviation over subsets; None if there is only one subset."""

    mean: float
    deviation: float | None
    subsets: int
    subset_size: int


@dataclasses.dataclass(frozen=True, slots=True)
class Discrepancy:
    """A squared discrepancy of whole sets, its standard error, and the rows used of each set."""

    value: float
    error: float | None
    generated: int
    real: int


def kernel_distance(
    generated: Rows,
    real: Rows,
    *,
    subsets: int = SUBSETS,
    subset_size: int = SUBSET_SIZE,
    seed: int = SUBSET_SEED,
    draws: Draws = "numpy-generated-first",
) -> KernelDistance:
    """Return the unbiased estimate over random subsets, computed in float64.

    `draws` and `seed` replay the subsets of a package (torch-fidelity's by default). Subsets shrink
    to the smaller set; where that makes every subset the whole of both sets, it is taken once.
    """
    size = min(subset_size, len(generated), len(real))
    if size == len(generated) == len(real):
        whole = subset_discrepancy(tensor(generated), tensor(real))
        return KernelDistance(whole, None, 1, size)
    values = [
        subset_discrepancy(tensor(generated[mine]), tensor(real[theirs]))
        for mine, theirs in subset_rows(len(generated), len(real), subsets, size, seed, draws)
    ]
    return KernelDistance(float(np.mean(values)), float(np.std(values)), subsets, size)


def tensor(rows: Rows | Matrix) -> Tensor:
    """Return rows as a float64 tensor."""
    return torch.from_numpy(np.ascontiguousarray(rows)).double()


def subset_rows(
    generated: int, real: int, subsets: int, size: int, seed: int, draws: Draws
) -> Iterator[tuple[Numbers, Numbers]]:
    """Yield the row numbers of each subset: of generated images, of real ones."""
    if draws == "torch-real-first":
        source = torch.Generator().manual_seed(seed)
        for _ in range(subsets):
            theirs = torch.randperm(real, generator=source)[:size].numpy()
            yield torch.randperm(generated, generator=source)[:size].numpy(), theirs
        return
    legacy = np.random.RandomState(seed)
    counts = (generated, real) if draws == "numpy-generated-first" else (real, generated)
    for _ in range(subsets):
        chosen = [legacy.choice(n, size, replace=False) for n in counts]
        mine, theirs = chosen if draws == "numpy-generated-first" else chosen[::-1]
        yield mine, theirs


def subset_discrepancy(first: Tensor, second: Tensor) -> float:
    """Return the unbiased estimate of the squared discrepancy (equation 4) of two samples."""
    within = 0.0
    for rows in (first, second):
        kernel = cubic_kernel(rows, rows)
        count = len(rows)
        within += float(kernel.sum() - kernel.trace()) / (count * (count - 1))
    return within - 2 * float(cubic_kernel(first, second).mean())


def cubic_kernel(first: Tensor, second: Tensor) -> Tensor:
    """Return (x.y / D + 1)^3 for every pair of rows."""
    base = (first @ second.T).div_(first.shape[1]).add_(1)
    return base * base * base


def gaussian_kernel(first: Tensor, second: Tensor) -> Tensor:
    """Return exp(-|x - y|^2 / (2 sigma^2)) for every pair of unit vectors."""
    squared = (2 - 2 * (first @ second.T)).clamp_(min=0)
    return squared.div_(-2 * CMMD_SIGMA**2).exp_()


def whole_discrepancy(generated: Rows, real: Rows) -> Discrepancy:
    """Return the unbiased U-statistic of all rows with the cubic kernel, and its standard error.

    From sets over 10,000 rows, 10,000 are drawn with a fixed seed.
    """
    first, second = tensor(at_most(generated, MOST_ROWS)), tensor(at_most(real, MOST_ROWS))
    return discrepancy(first, second, cubic_kernel, biased=False)


def cmmd(generated: Rows, real: Rows) -> Discrepancy:
    """Return 1000 times the biased squared discrepancy of unit vectors, Gaussian kernel, sigma 10."""
    unit = [torch.nn.functional.normalize(tensor(rows), dim=1) for rows in (generated, real)]
    found = discrepancy(unit[0], unit[1], gaussian_kernel, biased=True)
    error = None if found.error is None else found.error * CMMD_SCALE
    return Discrepancy(found.value * CMMD_SCALE, error, found.generated, found.real)


def at_most(rows: Rows, count: int | None, seed: int = SUBSET_SEED) -> Rows:
    """Return the rows, or a seeded random sample of that many."""
    if count is None or len(rows) <= count:
        return rows
    return rows[np.sort(np.random.RandomState(seed).permutation(len(rows))[:count])]


@dataclasses.dataclass(frozen=True, slots=True)
class Gram:
    """What the estimate needs of a kernel matrix: means of its rows and columns, of its squares."""

    rows: Tensor
    columns: Tensor
    mean: float
    square: float

    @property
    def spread(self) -> float:
        """The variance of the kernel that neither argument alone explains."""
        alone = float((self.rows**2).mean() + (self.columns**2).mean())
        return max(self.square - alone + self.mean**2, 0.0)


def gram(first: Tensor, second: Tensor, kernel: Kernel, *, diagonal: bool) -> Gram:
    """Return the summary of a kernel matrix, made in blocks; without its diagonal if asked."""
    lost = 0 if diagonal else 1
    rows = torch.empty(len(first), dtype=torch.float64)
    columns = torch.zeros(len(second), dtype=torch.float64)
    square = 0.0
    size = max(BLOCK_BYTES // (8 * len(second)), 1)
    for start in range(0, len(first), size):
        block = kernel(first[start : start + size], second)
        if not diagonal:
            block.diagonal(start).zero_()
        rows[start : start + size] = block.sum(dim=1)
        columns += block.sum(dim=0)
        square += float(block.square_().sum())
    pairs = len(first) * (len(second) - lost)
    return Gram(
        rows=rows / (len(second) - lost),
        columns=columns / (len(first) - lost),
        mean=float(rows.sum()) / pairs,
        square=square / pairs,
    )


def discrepancy(first: Tensor, second: Tensor, kernel: Kernel, *, biased: bool) -> Discrepancy:
    """Return the squared discrepancy of two samples, and its standard error.

    The error has the term of single samples (Hajek projection) and the term of pairs, which is
    the only one left if both sets come from one distribution.
    """
    count, other = len(first), len(second)
    own = gram(first, first, kernel, diagonal=biased)
    theirs = gram(second, second, kernel, diagonal=biased)
    cross = gram(first, second, kernel, diagonal=True)
    value = own.mean + theirs.mean - 2 * cross.mean
    if min(count, other) <= 2:  # noqa: PLR2004  # no spread to speak of
        return Discrepancy(value, None, count, other)
    # The variances of row means hold noise of pairs, which is counted on its own below.
    noise = own.spread / (count - 1) + cross.spread / other
    others_noise = theirs.spread / (other - 1) + cross.spread / count
    singles = 4 * max(float((own.rows - cross.rows).var()) - noise, 0.0) / count
    singles += 4 * max(float((theirs.rows - cross.columns).var()) - others_noise, 0.0) / other
    pairs = 2 * own.spread / (count * (count - 1)) + 2 * theirs.spread / (other * (other - 1))
    pairs += 4 * cross.spread / (count * other)
    return Discrepancy(value, float(np.sqrt(singles + pairs)), count, other)
