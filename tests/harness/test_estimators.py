"""Estimators beside their formulas written out, one pair at a time, and beside simulation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.linalg
import torch
from numpy.typing import NDArray

from sfbench.quality import frechet, kernel, memorization, neighbors, sliced, uncertainty
from sfbench.quality.statistics import Moments, Rows, moments_of
from sfbench.quality.uncertainty import Estimate

pytestmark = pytest.mark.fast
Array = NDArray[np.float64]


def rows(count: int, width: int, seed: int, shift: float = 0.0, scale: float = 1.0) -> Rows:
    drawn = np.random.default_rng(seed).normal(shift, scale, size=(count, width))
    return drawn.astype(np.float32)


def cubed(x: Array, y: Array) -> float:
    return float((x @ y / len(x) + 1) ** 3)


def near(x: Array, y: Array) -> float:
    return float(np.exp(-((x - y) @ (x - y)) / (2 * 10**2)))


def about(origin: Array, of: Callable[[Array, Array], float]) -> Callable[[Array, Array], float]:
    """Return the kernel about an origin, which has the same discrepancy."""
    return lambda x, y: of(x, y) - of(x, origin) - of(origin, y) + of(origin, origin)


def pairwise(first: Array, second: Array, of: Callable[[Array, Array], float]) -> Array:
    return np.array([[of(x, y) for y in second] for x in first])


def unit(sets: Rows) -> Array:
    return sets / np.linalg.norm(sets.astype(np.float64), axis=1, keepdims=True)


def written_out(
    *sets: Rows | Array, of: Callable[[Array, Array], float], biased: bool
) -> tuple[float, float]:
    """Return the squared discrepancy and its standard error: singles, then pairs."""
    first, second = (one.astype(np.float64) for one in sets)
    origin = np.concatenate([first, second]).mean(axis=0).astype(np.float32).astype(np.float64)
    of = about(origin, of)
    cross = pairwise(first, second, of)
    means, spreads, each = [], [], []
    for one in (first, second):
        own, count = pairwise(one, one, of), len(one)
        keep = np.ones((count, count), bool) if biased else ~np.eye(count, dtype=bool)
        own = np.where(keep, own, 0.0)
        pairs = keep.sum()
        by_row = own.sum(axis=1) / (count - (not biased))
        means.append(own.sum() / pairs)
        each.append(by_row)
        square = (own**2).sum() / pairs
        spreads.append(square - 2 * (by_row**2).mean() + means[-1] ** 2)
    alone = (cross.mean(axis=1) ** 2).mean() + (cross.mean(axis=0) ** 2).mean()
    between = (cross**2).mean() - alone + cross.mean() ** 2
    n, m = len(first), len(second)
    error = 0.0
    for by_row, across, own, count, other in (
        (each[0], cross.mean(axis=1), spreads[0], n, m),
        (each[1], cross.mean(axis=0), spreads[1], m, n),
    ):
        noise = own / (count - 1) + between / other
        error += 4 * max(np.var(by_row - across, ddof=1) - noise, 0) / count
        error += 2 * own / (count * (count - 1))
    error += 4 * between / (n * m)
    return means[0] + means[1] - 2 * cross.mean(), float(np.sqrt(error))


@pytest.mark.parametrize("shift", [0.0, 1.0])
@pytest.mark.parametrize("block", [512, 3])
def test_discrepancies_are_the_sums_over_pairs(
    shift: float, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "BLOCK_ROWS", block)
    first, second = rows(9, 4, 0, shift), rows(7, 4, 1)
    found = kernel.whole_discrepancy(first, second)
    expected = written_out(first, second, of=cubed, biased=False)
    assert (found.value, found.error) == pytest.approx(expected, rel=1e-10)
    assert (found.generated, found.real) == (9, 7)
    found = kernel.cmmd(first, second)
    value, error = written_out(unit(first), unit(second), of=near, biased=True)
    assert found.value == pytest.approx(1000 * value, rel=1e-6)
    assert found.error == pytest.approx(1000 * error, rel=1e-3)
    assert (found.generated, found.real) == (9, 7)


def test_a_discrepancy_of_two_rows_has_no_error_and_of_three_has_one() -> None:
    for few, many in ((rows(2, 3, 0), rows(5, 3, 1)), (rows(5, 3, 0), rows(2, 3, 1))):
        found = kernel.whole_discrepancy(few, many)
        assert found.value == pytest.approx(written_out(few, many, of=cubed, biased=False)[0])
        assert (found.error, found.generated, found.real) == (None, len(few), len(many))
        assert kernel.cmmd(few, many).error is None
    assert kernel.whole_discrepancy(rows(3, 3, 0), rows(3, 3, 1)).error is not None


def test_of_many_rows_a_seeded_sample_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "MOST_ROWS", 6)
    first, second = rows(9, 4, 0), rows(8, 4, 1)
    drawn = [
        one[np.sort(np.random.RandomState(2020).permutation(len(one))[:6])]
        for one in (first, second)
    ]
    found = kernel.whole_discrepancy(first, second)
    assert found.value == pytest.approx(written_out(*drawn, of=cubed, biased=False)[0], rel=1e-10)
    assert (found.generated, found.real) == (6, 6)
    assert kernel.at_most(first, None) is first


def in_extended_precision(
    *sets: Rows, of: Callable[[Array, Array], Array], biased: bool
) -> np.longdouble:
    """Return the squared discrepancy; `of` gives the kernel of every pair."""
    first, second = (one.astype(np.longdouble) for one in sets)
    within = np.longdouble(0)
    for one in (first, second):
        found = of(one, one)
        lost = 0 if biased else np.trace(found)
        within += (found.sum() - lost) / (len(one) * (len(one) - (not biased)))
    return np.longdouble(within - 2 * of(first, second).mean())


@pytest.mark.skipif(np.finfo(np.longdouble).eps > 1e-18, reason="no extended precision here")
@pytest.mark.parametrize(("mean", "deviation"), [(0.0, 1.0), (100.0, 1.0), (100.0, 0.1)])
def test_a_large_mean_costs_no_digits(mean: float, deviation: float) -> None:
    first = rows(300, 64, 0, mean, deviation)
    second = rows(200, 64, 1, mean + 0.02, 1.05 * deviation)

    def cubic(x: Array, y: Array) -> Array:
        return (x @ y.T / 64 + 1) ** 3

    def gaussian(x: Array, y: Array) -> Array:
        x, y = (one / np.sqrt((one**2).sum(axis=1, keepdims=True)) for one in (x, y))
        squared = (x**2).sum(axis=1)[:, None] + (y**2).sum(axis=1) - 2 * x @ y.T
        return np.exp(-squared / 200)

    expected = in_extended_precision(first, second, of=cubic, biased=False)
    assert kernel.whole_discrepancy(first, second).value == pytest.approx(expected, rel=1e-11)
    both = [torch.from_numpy(one).double() for one in (first, second)]
    assert kernel.subset_discrepancy(*both) == pytest.approx(expected, rel=1e-11)
    expected = 1000 * in_extended_precision(first, second, of=gaussian, biased=True)
    assert kernel.cmmd(first, second).value == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize(("shift", "most"), [(0.0, 1.5), (0.6, 1.2)])
def test_the_error_of_a_discrepancy_is_how_much_it_varies(shift: float, most: float) -> None:
    """It is too wide for a few rows of equal distributions: the term of singles is never negative."""
    found = [
        kernel.whole_discrepancy(rows(40, 4, 2 * seed, shift), rows(60, 4, 2 * seed + 1))
        for seed in range(200)
    ]
    spread = np.std([one.value for one in found])
    typical = np.sqrt(np.mean([(one.error or 0) ** 2 for one in found]))
    assert 0.85 * spread < typical < most * spread


@pytest.mark.parametrize("of", ["monge", "sliced", "rbf"])
@pytest.mark.parametrize("shift", [0.3, 1.0])
def test_the_error_of_a_sliced_or_gaussian_distance_is_how_much_it_varies(
    of: str, shift: float
) -> None:
    def found(seed: int) -> Estimate:
        first, second = rows(200, 6, 2 * seed, shift, 1.3), rows(300, 6, 2 * seed + 1)
        if of == "monge":
            return sliced.monge_distance(first, second, directions=50)
        if of == "sliced":
            moments = moments_of(first), moments_of(second)
            return sliced.approximate_sliced_distance(first, moments[0], second, moments[1])
        one = kernel.whole_discrepancy(first, second, kernel.GaussianKernel(3.0))
        return Estimate(one.value, one.error)

    each = [found(seed) for seed in range(200)]
    spread = np.std([one.value for one in each])
    typical = np.sqrt(np.mean([(one.error or 0) ** 2 for one in each]))
    assert 0.8 * spread < typical < 1.25 * spread


def test_a_gaussian_kernel_of_far_rows_is_finite() -> None:
    first, second = rows(40, 48, 0, 100, 80), rows(50, 48, 1, 100, 80)

    def gaussian(x: Array, y: Array) -> float:
        return float(np.exp(-((x - y) @ (x - y)) / (2 * 300.0**2)))

    found = kernel.whole_discrepancy(first, second, kernel.GaussianKernel(300.0))
    expected, _ = written_out(first, second, of=gaussian, biased=False)
    assert found.value == pytest.approx(expected, rel=1e-9)
    assert kernel.whole_discrepancy(first, second, kernel.GaussianKernel(10.0)).value >= 0


def test_sliced_distances_are_their_formulas() -> None:
    first, second = rows(40, 5, 0, 0.5), rows(40, 5, 1)
    source = torch.Generator().manual_seed(3)
    lines = torch.nn.functional.normalize(torch.randn(7, 5, generator=source), dim=1).numpy()
    each = [
        np.mean((np.sort(first @ line) - np.sort(second @ line)) ** 2, dtype=np.float64)
        for line in lines
    ]
    found = sliced.monge_distance(first, second, directions=7, seed=3)
    assert found.value == pytest.approx(15 * np.mean(each), rel=1e-5)
    same = moments_of(first)
    nothing = sliced.approximate_sliced_distance(first, same, first, same)
    assert (nothing.value, nothing.error) == (0.0, None)


def test_realism_is_a_radius_over_a_distance_and_its_median_has_an_interval() -> None:
    real = np.array([[0.0], [1.0], [2.0], [4.0], [20.0], [30.0]], np.float32)
    # Radii to the second neighbor: 2, 1, 2, 3, 16, 26; below the median of 2.5 are the first three.
    found = neighbors.realism(np.array([[3.0], [1.0], [-4.0]], np.float32), real, k=2)
    assert found.tolist() == [2.0, np.inf, 0.5]
    with pytest.raises(ValueError, match="all are equal"):
        neighbors.realism(real, np.ones((6, 1), np.float32), k=2)
    inside = 0
    for seed in range(400):
        drawn = np.sort(np.random.default_rng(seed).normal(size=101))
        low, high = neighbors.median_bounds(drawn)
        inside += low <= 0 <= high
    assert 0.93 < inside / 400 < 0.99


def test_memorized_images_divide_the_distance() -> None:
    real = rows(50, 8, 0)
    near = memorization.nearness(real + 0.01, real)
    assert near < 0.01
    assert memorization.memorization_distance(2.0, near) == pytest.approx(2.0 / near)
    assert memorization.memorization_distance(2.0, 0.4) == pytest.approx(2.0)
    assert memorization.memorization_distance(1e-9, 0.0) == 0.0


def test_subsets_that_are_the_whole_are_taken_once_and_others_averaged() -> None:
    first, second = rows(6, 3, 0), rows(6, 3, 1)
    value, _ = written_out(first, second, of=cubed, biased=False)
    whole = kernel.kernel_distance(first, second)
    assert whole.mean == pytest.approx(value, rel=1e-10)
    assert (whole.deviation, whole.subsets, whole.subset_size) == (None, 1, 6)
    more = rows(8, 3, 2)
    found = kernel.kernel_distance(first, more, subsets=4, subset_size=5, seed=9)
    drawn = kernel.subset_rows(6, 8, 4, 5, 9, "numpy-generated-first")
    values = [written_out(first[a], more[b], of=cubed, biased=False)[0] for a, b in drawn]
    assert found.mean == pytest.approx(np.mean(values), rel=1e-10)
    assert found.deviation == pytest.approx(np.std(values), rel=1e-10)
    assert (found.subsets, found.subset_size) == (4, 5)


def test_subsets_are_those_of_the_package_that_is_replayed() -> None:
    source = torch.Generator().manual_seed(5)
    expected = []
    for _ in range(3):
        real = torch.randperm(8, generator=source)[:4]
        expected.append((torch.randperm(9, generator=source)[:4].tolist(), real.tolist()))
    drawn = list(kernel.subset_rows(9, 8, 3, 4, 5, "torch-real-first"))
    assert [(mine.tolist(), theirs.tolist()) for mine, theirs in drawn] == expected
    for draws, first in (("numpy-generated-first", 0), ("numpy-real-first", 1)):
        legacy = np.random.RandomState(5)
        for pair in kernel.subset_rows(9, 8, 3, 4, 5, draws):  # type: ignore[arg-type]  # a literal
            for place in (first, 1 - first):
                assert (
                    pair[place].tolist() == legacy.choice((9, 8)[place], 4, False).tolist()
                )  # NumPy


def moments(covariance: Array, mean: Array, count: int = 1000) -> Moments:
    return Moments(count, mean, covariance)


def covariance(width: int, seed: int, rank: int | None = None) -> Array:
    factor = rows(width, rank or width, seed).astype(np.float64)
    return np.asarray(factor @ factor.T / width)


@pytest.mark.parametrize("rank", [5, 3])
def test_the_optimal_map_carries_one_gaussian_onto_the_other(rank: int) -> None:
    first = moments(covariance(5, 0, rank), np.zeros(5))
    second = moments(4 * covariance(5, 1), np.ones(5))
    there, back = frechet.optimal_maps(first, second)
    np.testing.assert_allclose(there, there.T, atol=1e-9)
    # The trace of the root is that of T S1, whatever S1 spans; of the way back, where both do.
    root = frechet.trace_of_root(first, second)
    assert np.trace(there @ first.covariance) == pytest.approx(root, rel=1e-9)
    if rank == 5:
        moved = there @ first.covariance @ there
        np.testing.assert_allclose(moved, second.covariance, rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(there @ back, np.eye(5), atol=1e-8)


def test_the_algebras_of_other_packages_agree_where_nothing_is_singular(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = moments(covariance(4, 0), np.zeros(4)), moments(covariance(4, 1), np.ones(4))
    exact = frechet.frechet_distance(first, second)
    for algebra in ("eigvals", "sqrtm"):
        found = frechet.frechet_distance(first, second, algebra)  # type: ignore[arg-type]  # a literal
        assert found == pytest.approx(exact, rel=1e-8)
    # Where scipy finds no root, packages add a millionth to both diagonals and try again.
    tried = []

    def once_without(matrix: Array) -> Array:
        tried.append(matrix)
        return np.full((4, 4), np.nan) if len(tried) == 1 else root(matrix)

    root = scipy.linalg.sqrtm
    monkeypatch.setattr(scipy.linalg, "sqrtm", once_without)
    frechet.trace_by_sqrtm(first, second)
    offset = 1e-6 * np.eye(4)
    again = (first.covariance + offset) @ (second.covariance + offset)
    np.testing.assert_allclose(tried[0], first.covariance @ second.covariance)
    np.testing.assert_array_equal(tried[1], again)


def influence(x: Rows, other: Rows) -> float:
    """Return the variance of what each sample adds to the distance of Gaussians on a line."""
    x, other = x.astype(np.float64), other.astype(np.float64)
    u = (x - x.mean()).ravel()
    shift, stretch = x.mean() - other.mean(), 1 - other.std(ddof=1) / x.std(ddof=1)
    return float(np.var(2 * shift * u + stretch * u**2, ddof=1))


def test_the_error_of_a_frechet_distance_adds_the_influence_of_every_sample(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(uncertainty, "CHUNK_ROWS", 7)
    x, y = rows(30, 1, 0, 1.0, 2.0), rows(20, 1, 1)
    both = uncertainty.frechet_error(x, moments_of(x), y, moments_of(y))
    assert both == pytest.approx(np.sqrt(influence(x, y) / 30 + influence(y, x) / 20), rel=1e-9)
    one = uncertainty.frechet_error(x, moments_of(x), None, moments_of(y))
    assert one == pytest.approx(np.sqrt(influence(x, y) / 30), rel=1e-9)


def test_a_frechet_distance_of_two_rows_has_no_error_and_of_three_has_one() -> None:
    few, many = rows(2, 1, 0), rows(9, 1, 1)
    assert uncertainty.frechet_error(few, moments_of(few), many, moments_of(many)) is None
    assert uncertainty.frechet_error(many, moments_of(many), few, moments_of(few)) is None
    three = rows(3, 1, 0)
    assert uncertainty.frechet_error(three, moments_of(three), many, moments_of(many)) is not None


def test_halves_are_seeded_disjoint_and_leave_at_most_one_row_out() -> None:
    x = rows(11, 2, 0)
    order = np.random.RandomState(2020).permutation(11)
    for half, places in zip(uncertainty.halves(x), (order[:5], order[5:10]), strict=True):
        np.testing.assert_array_equal(half, x[np.sort(places)])


def test_the_bias_of_order_one_over_n_is_taken_off() -> None:
    x, y = rows(40, 2, 0, 0.5), rows(30, 2, 1)
    plain = frechet.frechet_distance(moments_of(x), moments_of(y))
    pairs = zip(uncertainty.halves(x), uncertainty.halves(y), strict=True)
    halved = [frechet.frechet_distance(moments_of(a), moments_of(b)) for a, b in pairs]
    found = uncertainty.richardson_frechet(x, y, plain)
    assert found == pytest.approx(2 * plain - np.mean(halved), rel=1e-12)
    exact = [frechet.frechet_distance(moments_of(a), moments_of(y)) for a in uncertainty.halves(x)]
    found = uncertainty.richardson_frechet(x, moments_of(y), plain)
    assert found == pytest.approx(2 * plain - np.mean(exact), rel=1e-12)


@pytest.mark.parametrize("count", [15, 200])
def test_the_distance_at_infinity_is_a_line_over_one_over_n(count: int) -> None:
    x, second = rows(count, 2, 0, 0.5), moments_of(rows(60, 2, 1))
    source = np.random.default_rng(0)
    sizes = np.linspace(max(count // 10, 2), count, 15).astype(int)
    distances = [
        frechet.frechet_distance(moments_of(source.choice(x, n, replace=False)), second)
        for n in sizes
    ]
    line, spread = np.polyfit(1 / sizes, distances, 1, cov=True)
    found = uncertainty.frechet_infinity(x, second)
    assert found.value == pytest.approx(line[1], rel=1e-9)
    assert found.error == pytest.approx(np.sqrt(spread[1, 1]), rel=1e-9)
    assert found.bounds() == pytest.approx(
        (found.value - 1.959964 * found.error, found.value + 1.959964 * found.error)
    )
