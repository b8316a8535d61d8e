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
from collections.abc import Iterator, Sequence, Sized
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sfbench.quality.statistics import Matrix, Rows

SUBSETS = 100
SUBSET_SIZE = 1000
SUBSET_SEED = 2020
MOST_ROWS = 10_000
BLOCK_ROWS = 512
"""Of both samples at once: 2 MiB of kernel values, which a CPU keeps in its cache."""
LARGE = 32.0
"""Exponent below which e^w - 1 times a small factor loses no digits."""
CMMD_SIGMA = 10.0
RBF_SIGMA = 10.0
"""Of torch-fidelity's Gaussian kernel."""
SHORTEST = 1e-12
"""Below it a row has no direction (torch.nn.functional.normalize's limit)."""
CMMD_SCALE = 1000.0

Draws = Literal["numpy-generated-first", "numpy-real-first", "torch-real-first"]
"""Which package's random generator draws subsets, and from which set first."""

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


@runtime_checkable
class Kernel(Protocol):
    """A kernel about an origin, from rows u = x - o and v = y - o relative to it."""

    def alone(self, rows: Tensor, origin: Tensor) -> Tensor:
        """Return what each row [rows, D] alone contributes."""
        ...

    def pairs(self, inner: Tensor, mine: Tensor, theirs: Tensor, origin: Tensor) -> Tensor:
        """Return the kernel of every pair, from u.v and what rows contribute alone."""
        ...


class CubicKernel:
    """(x.y / D + 1)^3.

    With s = u.v / D and t = c + a + b, where c = o.o / D + 1, a = o.u / D and b = o.v / D,
    x.y / D + 1 is t + s, and about the origin (t + s)^3 is s (s (s + 3 t) + 3 t^2) + 3 a b (c + t).
    """

    def alone(self, rows: Tensor, origin: Tensor) -> Tensor:
        """Return a."""
        return rows @ origin / len(origin)

    def pairs(self, inner: Tensor, mine: Tensor, theirs: Tensor, origin: Tensor) -> Tensor:
        """Return the kernel of every pair."""
        constant = float(origin @ origin) / len(origin) + 1
        scaled = inner / len(origin)
        outer = mine[:, None] + (theirs + constant)
        found = torch.add(scaled, outer, alpha=3).mul_(scaled)
        found.addcmul_(outer, outer, value=3).mul_(scaled)
        left = torch.stack([mine * (2 * constant + mine), mine], dim=1)
        return found.addmm_(left, torch.stack([theirs, theirs.square()]), alpha=3)


@dataclasses.dataclass(frozen=True, slots=True)
class GaussianKernel:
    """exp(-|x - y|^2 / (2 sigma^2)).

    With p = |u|^2 / (2 sigma^2), q of v, and w = u.v / sigma^2, it is about the origin
    (e^-p - 1) (e^-q - 1) + e^-p e^-q (e^w - 1); the last term is e^(w - p - q) - e^-p e^-q where w
    is large.
    """

    sigma: float

    def alone(self, rows: Tensor, origin: Tensor) -> Tensor:
        """Return p."""
        del origin  # distances do not depend on it
        return (rows**2).sum(dim=1) / (2 * self.sigma**2)

    def pairs(self, inner: Tensor, mine: Tensor, theirs: Tensor, origin: Tensor) -> Tensor:
        """Return the kernel of every pair."""
        del origin
        exponent = inner / self.sigma**2
        factors = torch.exp(-mine)[:, None], torch.exp(-theirs)
        if float(exponent.max()) < LARGE:
            found = exponent.expm1_().mul_(factors[0]).mul_(factors[1])
        else:
            together = factors[0] * factors[1]
            far = (exponent - (mine[:, None] + theirs)).clamp_(max=0).exp_().sub_(together)
            near = exponent.clamp(max=1).expm1_().mul_(together)
            found = torch.where(exponent < 1, near, far)
        return found.addr_(torch.expm1(-mine), torch.expm1(-theirs))


CUBIC = CubicKernel()


def kernel_distance(
    generated: Rows,
    real: Rows,
    *,
    subsets: int = SUBSETS,
    subset_size: int = SUBSET_SIZE,
    seed: int = SUBSET_SEED,
    draws: Draws = "numpy-generated-first",
    kernel: Kernel = CUBIC,
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


def subset_discrepancy(first: Tensor, second: Tensor, kernel: Kernel = CUBIC) -> float:
    """Return the unbiased estimate of the squared discrepancy (equation 4) of two samples.

    With the cubic kernel, unless another is given.
    """
    first, second, origin = about_one_origin(first, second)
    within = 0.0
    for rows in (first, second):
        count = len(rows)
        within += total(rows, rows, origin, kernel, diagonal=False) / (count * (count - 1))
    across = total(first, second, origin, kernel, diagonal=True) / (len(first) * len(second))
    return within - 2 * across


def about_one_origin(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return both samples [rows, D] relative to an origin amid them, and the origin [D].

    The origin is rounded to float32, so that differences from float32 features are exact.
    """
    count = len(first) + len(second)
    origin = ((first.sum(dim=0) + second.sum(dim=0)) / count).float().double()
    return first - origin, second - origin, origin


def whole_discrepancy(generated: Rows, real: Rows, kernel: Kernel = CUBIC) -> Discrepancy:
    """Return the unbiased U-statistic of all rows, and its standard error.

    With the cubic kernel, unless another is given. From sets over 10,000 rows, 10,000 are drawn
    with a fixed seed.
    """
    return whole_discrepancies(generated, real, [kernel])[0]


def whole_discrepancies(
    generated: Rows, real: Rows, kernels: Sequence[Kernel]
) -> list[Discrepancy]:
    """Return `whole_discrepancy` of several kernels, from one pass over all pairs."""
    first, second = tensor(at_most(generated, MOST_ROWS)), tensor(at_most(real, MOST_ROWS))
    return discrepancies(first, second, kernels, biased=False)


def cmmd(generated: Rows, real: Rows) -> Discrepancy:
    """Return 1000 times the biased squared discrepancy of unit vectors, Gaussian kernel, sigma 10."""
    *sets, origin = about_one_origin(tensor(generated), tensor(real))
    unit = [unit_rows(rows, origin) for rows in sets]
    (found,) = discrepancies(unit[0], unit[1], [GaussianKernel(CMMD_SIGMA)], biased=True)
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


@dataclasses.dataclass(frozen=True, slots=True)
class Block:
    """Inner products of a part of each sample, and whether they stand for their transpose as well."""

    rows: slice
    columns: slice
    inner: Tensor
    mirrored: bool


def blocks_of(first: Tensor, second: Tensor) -> Iterator[Block]:
    """Yield all pairs of rows; of a sample with itself, one of each two blocks alone."""
    for rows in parts_of(first, BLOCK_ROWS):
        for columns in parts_of(second, BLOCK_ROWS):
            if first is second and columns.start < rows.start:
                continue
            inner = first[rows] @ second[columns].T
            mirrored = first is second and columns.start > rows.start
            yield Block(rows, columns, inner, mirrored)


def parts_of(rows: Sized, size: int) -> list[slice]:
    """Return the rows in parts of that many."""
    starts = range(0, len(rows), size)
    return [slice(start, min(start + size, len(rows))) for start in starts]


def total(
    first: Tensor, second: Tensor, origin: Tensor, kernel: Kernel, *, diagonal: bool
) -> float:
    """Return the sum of a kernel matrix; without its diagonal if asked."""
    mine, theirs = (kernel.alone(rows, origin) for rows in (first, second))
    found = 0.0
    for block in blocks_of(first, second):
        values = kernel.pairs(block.inner, mine[block.rows], theirs[block.columns], origin)
        if not diagonal and block.rows == block.columns:
            values.diagonal().zero_()
        found += float(values.sum()) * (2 if block.mirrored else 1)
    return found


def grams(
    first: Tensor, second: Tensor, origin: Tensor, kernels: Sequence[Kernel], *, diagonal: bool
) -> list[Gram]:
    """Return the summary of each kernel's matrix, made in blocks; without its diagonal if asked."""
    lost = 0 if diagonal else 1
    alone = [[kernel.alone(rows, origin) for rows in (first, second)] for kernel in kernels]
    sums = [[torch.zeros(len(rows)).double() for rows in (first, second)] for _ in kernels]
    squares = [0.0 for _ in kernels]
    for block in blocks_of(first, second):
        for number, (kernel, (mine, theirs), (rows, columns)) in enumerate(
            zip(kernels, alone, sums, strict=True)
        ):
            values = kernel.pairs(block.inner, mine[block.rows], theirs[block.columns], origin)
            if not diagonal and block.rows == block.columns:
                values.diagonal().zero_()
            across, down = values.sum(dim=1), values.sum(dim=0)
            square = float(torch.dot(values.view(-1), values.view(-1)))
            rows[block.rows] += across
            columns[block.columns] += down
            if block.mirrored:
                rows[block.columns] += down
                columns[block.rows] += across
            squares[number] += square * (2 if block.mirrored else 1)
    pairs = len(first) * (len(second) - lost)
    return [
        Gram(
            rows=rows / (len(second) - lost),
            columns=columns / (len(first) - lost),
            mean=float(rows.sum()) / pairs,
            square=square / pairs,
        )
        for (rows, columns), square in zip(sums, squares, strict=True)
    ]


def discrepancies(
    first: Tensor, second: Tensor, kernels: Sequence[Kernel], *, biased: bool
) -> list[Discrepancy]:
    """Return the squared discrepancy of two samples by each kernel, and its standard error."""
    first, second, origin = about_one_origin(first, second)
    matrices = zip(
        grams(first, first, origin, kernels, diagonal=biased),
        grams(second, second, origin, kernels, diagonal=biased),
        grams(first, second, origin, kernels, diagonal=True),
        strict=True,
    )
    return [discrepancy(*three, count=len(first), other=len(second)) for three in matrices]


def discrepancy(own: Gram, theirs: Gram, cross: Gram, *, count: int, other: int) -> Discrepancy:
    """Return the squared discrepancy and its standard error from the three kernel matrices.

    The error has the term of single samples (Hajek projection) and the term of pairs, which is
    the only one left if both sets come from one distribution.
    """
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
