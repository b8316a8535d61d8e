"""Kernel distances: squared maximum mean discrepancies over subsets, or over whole sets.

With the cubic kernel (x.y / D + 1)^3: Binkowski et al., "Demystifying MMD GANs" (arXiv 1801.01401,
section 4.1), named KID only for the features of Inception-v3 with its published weights. With a
Gaussian kernel on unit vectors: CMMD (Jayasumana et al., arXiv 2401.09603).

Whatever of a kernel depends on one argument alone cancels in a discrepancy. With features far from
zero it is many orders of magnitude larger than what remains, so kernels are taken about an origin o
amid the samples, k(x, y) - k(x, o) - k(o, y) + k(o, o), in a form without cancellation: values are
within 1e-11 of extended precision for features of mean 100 and standard deviation 1.
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
BLOCK_BYTES = 1 << 24
CMMD_SIGMA = 10.0
RBF_SIGMA = 10.0
"""Of torch-fidelity's Gaussian kernel."""
SHORTEST = 1e-12
"""Below it a row has no direction (torch.nn.functional.normalize's limit)."""
CMMD_SCALE = 1000.0

Draws = Literal["numpy-generated-first", "numpy-real-first", "torch-real-first"]
"""Which package's random generator draws subsets, and from which set first."""

Kernel = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Of rows and rows, both relative to an origin, and the origin: the kernel about it, of every pair."""
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


def cubic_kernel(first: Tensor, second: Tensor, origin: Tensor) -> Tensor:
    """Return (x.y / D + 1)^3 about the origin, for every pair of rows.

    With x = o + u and y = o + v, x.y / D + 1 = t + s with s = u.v / D and t = c + a + b, where
    c = o.o / D + 1, a = o.u / D and b = o.v / D. About the origin, (t + s)^3 is
    s (s (s + 3 t) + 3 t^2) + 3 a b (c + t).
    """
    width = first.shape[1]
    constant = float(origin @ origin) / width + 1
    mine, theirs = (first @ origin / width)[:, None], second @ origin / width
    outer = mine + theirs
    outer += constant
    inner = (first @ second.T).div_(width)
    found = (inner + 3 * outer).mul_(inner)
    found.addcmul_(outer, outer, value=3).mul_(inner)
    found.addcmul_(mine * theirs, outer.add_(constant), value=3)
    return found


def gaussian_kernel(sigma: float) -> Kernel:
    """Return the kernel exp(-|x - y|^2 / (2 sigma^2)) about an origin.

    With p = |u|^2 / (2 sigma^2) and q of v, it is (e^-p - 1) (e^-q - 1) + e^-(p + q) (e^w - 1),
    where w = u.v / sigma^2; the last term is e^(w - p - q) - e^-(p + q) where w is large.
    """

    def kernel(first: Tensor, second: Tensor, _origin: Tensor) -> Tensor:
        inner = (first @ second.T).div_(sigma**2)
        mine, theirs = ((rows**2).sum(dim=1) / (2 * sigma**2) for rows in (first, second))
        outer = mine[:, None] + theirs
        together = torch.exp(-outer)
        far = (inner - outer).clamp_(max=0).exp_().sub_(together)
        near = inner.clamp(max=1).expm1_().mul_(together)
        alone = torch.expm1(-mine)[:, None] * torch.expm1(-theirs)
        return torch.where(inner < 1, near, far).add_(alone)

    return kernel


def kernel_distance(
    generated: Rows,
    real: Rows,
    *,
    subsets: int = SUBSETS,
    subset_size: int = SUBSET_SIZE,
    seed: int = SUBSET_SEED,
    draws: Draws = "numpy-generated-first",
    kernel: Kernel = cubic_kernel,
) -> KernelDistance:
    """Return the unbiased estimate over random subsets, computed in float64.

    With the cubic kernel, unless another is given.

    `draws` and `seed` replay the subsets of a package (torch-fidelity's by default). Subsets shrink
    to the smaller set; where that makes every subset the whole of both sets, it is taken once.
    """
    size = min(subset_size, len(generated), len(real))
    if size == len(generated) == len(real):
        whole = subset_discrepancy(tensor(generated), tensor(real), kernel)
        return KernelDistance(whole, None, 1, size)
    values = [
        subset_discrepancy(tensor(generated[mine]), tensor(real[theirs]), kernel)
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


def subset_discrepancy(first: Tensor, second: Tensor, kernel: Kernel = cubic_kernel) -> float:
    """Return the unbiased estimate of the squared discrepancy (equation 4) of two samples.

    With the cubic kernel, unless another is given.
    """
    first, second, origin = about_one_origin(first, second)
    within = 0.0
    for rows in (first, second):
        found = kernel(rows, rows, origin)
        count = len(rows)
        within += float(found.sum() - found.trace()) / (count * (count - 1))
    return within - 2 * float(kernel(first, second, origin).mean())


def about_one_origin(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return both samples [rows, D] relative to an origin amid them, and the origin [D].

    The origin is rounded to float32, so that differences from float32 features are exact.
    """
    count = len(first) + len(second)
    origin = ((first.sum(dim=0) + second.sum(dim=0)) / count).float().double()
    return first - origin, second - origin, origin


def whole_discrepancy(generated: Rows, real: Rows, kernel: Kernel = cubic_kernel) -> Discrepancy:
    """Return the unbiased U-statistic of all rows, and its standard error.

    With the cubic kernel, unless another is given. From sets over 10,000 rows, 10,000 are drawn
    with a fixed seed.
    """
    first, second = tensor(at_most(generated, MOST_ROWS)), tensor(at_most(real, MOST_ROWS))
    return discrepancy(first, second, kernel, biased=False)


def cmmd(generated: Rows, real: Rows) -> Discrepancy:
    """Return 1000 times the biased squared discrepancy of unit vectors, Gaussian kernel, sigma 10."""
    *sets, origin = about_one_origin(tensor(generated), tensor(real))
    unit = [unit_rows(rows, origin) for rows in sets]
    found = discrepancy(unit[0], unit[1], gaussian_kernel(CMMD_SIGMA), biased=True)
    error = None if found.error is None else found.error * CMMD_SCALE
    return Discrepancy(found.value * CMMD_SCALE, error, found.generated, found.real)


def unit_rows(rows: Tensor, origin: Tensor) -> Tensor:
    """Return x / |x| - o / |o| for every row u = x - o; zero is taken to have no direction.

    |x| - |o| is (2 o.u + |u|^2) / (|x| + |o|): directions that differ little lose no digits.
    """
    middle = float(origin.norm())
    direction = origin / max(middle, SHORTEST)
    length = (rows + origin).norm(dim=1, keepdim=True)
    longer = (2 * (rows @ origin)[:, None] + (rows**2).sum(dim=1, keepdim=True)) / (
        length + middle
    ).clamp_(min=SHORTEST)
    found = (rows - direction * longer) / length.clamp(min=SHORTEST)
    return torch.where(length > SHORTEST, found, -direction)


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


def gram(first: Tensor, second: Tensor, origin: Tensor, kernel: Kernel, *, diagonal: bool) -> Gram:
    """Return the summary of a kernel matrix, made in blocks; without its diagonal if asked."""
    lost = 0 if diagonal else 1
    rows = torch.empty(len(first), dtype=torch.float64)
    columns = torch.zeros(len(second), dtype=torch.float64)
    square = 0.0
    size = max(BLOCK_BYTES // (8 * len(second)), 1)
    for start in range(0, len(first), size):
        block = kernel(first[start : start + size], second, origin)
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
    first, second, origin = about_one_origin(first, second)
    own = gram(first, first, origin, kernel, diagonal=biased)
    theirs = gram(second, second, origin, kernel, diagonal=biased)
    cross = gram(first, second, origin, kernel, diagonal=True)
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
