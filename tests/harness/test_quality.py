from __future__ import annotations

import hashlib
import http.server
import itertools
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from sfbench.api.errors import WeightsError
from sfbench.api.protocols import Features
from sfbench.data.shapes import CLASSES, ShapesDataset
from sfbench.pixels import to_bytes, to_rgb
from sfbench.quality import weights
from sfbench.quality.frechet import frechet_distance
from sfbench.quality.inception_score import inception_score
from sfbench.quality.kernel import kernel_distance, unbiased_discrepancy
from sfbench.quality.probe import QualityProbe, metric_names
from sfbench.quality.statistics import FeatureStatistics, Moments, merged
from sfbench.quality.untrained import UntrainedExtractor
from sfbench.testing import check_extractor

pytestmark = pytest.mark.fast

RNG = np.random.default_rng(0)


def statistics(count: int, width: int, seed: int = 0, first: int = 0) -> FeatureStatistics:
    rows = np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)
    return FeatureStatistics.of(range(first, first + count), rows)


def test_parts_in_any_order_and_size_give_the_same_bits_as_the_whole() -> None:
    whole = statistics(5000, 8)
    cuts = [0, 1, 700, 701, 4097, 5000]
    parts = [
        FeatureStatistics.of(whole.indices[a:b].tolist(), whole.features[a:b])
        for a, b in itertools.pairwise(cuts)
    ]
    again = merged(parts[::-1])
    one_by_one = parts[3] + parts[0] + parts[4] + parts[2] + parts[1]
    for other in (again, one_by_one):
        assert np.array_equal(other.moments().covariance, whole.moments().covariance)
        assert np.array_equal(other.moments().mean, whole.moments().mean)


def test_an_image_counted_twice_is_an_error() -> None:
    with pytest.raises(ValueError, match="image 5 is in more than one"):
        statistics(6, 3) + statistics(6, 3, first=5)


def test_statistics_survive_a_file(tmp_path: Path) -> None:
    before = FeatureStatistics.of([3, 4], np.ones((2, 5), np.float32), np.zeros((2, 7), np.float32))
    before.save(tmp_path / "s.npz")
    after = FeatureStatistics.load(tmp_path / "s.npz")
    assert np.array_equal(before.features, after.features)
    assert after.logits is not None
    assert after.indices.tolist() == [3, 4]


def test_moments_are_those_of_numpy() -> None:
    found = statistics(9000, 6).moments()
    rows = statistics(9000, 6).features.astype(np.float64)
    np.testing.assert_allclose(found.mean, rows.mean(axis=0), rtol=0, atol=1e-13)
    np.testing.assert_allclose(found.covariance, np.cov(rows.T), rtol=1e-12)


def test_the_frechet_distance_of_gaussians_with_diagonal_covariance_has_a_closed_form() -> None:
    first = Moments(1000, np.array([0.0, 1.0]), np.diag([4.0, 9.0]))
    second = Moments(1000, np.array([3.0, 1.0]), np.diag([1.0, 16.0]))
    assert frechet_distance(first, second) == pytest.approx(9 + 1 + 1, abs=1e-12)


@pytest.mark.parametrize(("count", "width"), [(500, 16), (20, 64), (65, 64)])
def test_a_set_has_distance_zero_to_itself(count: int, width: int) -> None:
    moments = statistics(count, width).moments()
    assert abs(frechet_distance(moments, moments)) < 1e-9


def test_the_frechet_distance_is_symmetric_where_one_covariance_is_singular() -> None:
    first, second = statistics(20, 40).moments(), statistics(900, 40, seed=1).moments()
    there, back = frechet_distance(first, second), frechet_distance(second, first)
    assert there == pytest.approx(back, rel=1e-12)
    assert there > 0


def test_the_unbiased_discrepancy_of_two_points_each_is_computed_by_hand() -> None:
    first, second = np.array([[1.0], [2.0]]), np.array([[0.0], [1.0]])
    expected = 27 + 1 - 2 * (1 + 8 + 1 + 27) / 4
    assert unbiased_discrepancy(first, second) == pytest.approx(expected)


def test_the_kernel_distance_is_replayable_and_small_for_equal_distributions() -> None:
    first, second = statistics(300, 16).features, statistics(300, 16, seed=1).features
    once = kernel_distance(first, second, subsets=10, subset_size=100)
    assert once == kernel_distance(first, second, subsets=10, subset_size=100)
    assert once.subset_size == 100
    assert abs(once.mean) < 0.05
    assert kernel_distance(first + 1, second, subsets=10, subset_size=100).mean > 1


def test_the_inception_score_of_certain_uniform_classes_is_their_number() -> None:
    logits = np.repeat(np.eye(5, dtype=np.float32) * 1000, 20, axis=0)
    assert inception_score(logits, splits=1).mean == pytest.approx(5)
    assert inception_score(np.zeros((40, 5), np.float32), splits=4).mean == pytest.approx(1)
    with pytest.raises(ValueError, match="cannot be divided"):
        inception_score(logits[:3], splits=10)


def test_bytes_are_rounded_and_clamped() -> None:
    levels = torch.tensor([-2.0, -1.0, -0.999, 0.0, 1.0, 7.0]).reshape(1, 1, 1, 6)
    assert to_bytes(levels).flatten().tolist() == [0, 0, 0, 128, 255, 255]
    assert to_rgb(to_bytes(levels)).shape == (1, 3, 1, 6)


def test_the_built_in_extractor_holds_to_the_contract_and_is_named_as_what_it_is() -> None:
    extractor = UntrainedExtractor("cpu")
    assert all(result.passed for result in check_extractor(extractor))
    names = set(metric_names(extractor).values())
    assert names == {"fd[untrained-64]", "kd[untrained-64]"}


def test_the_built_in_extractor_has_not_changed() -> None:
    identity = UntrainedExtractor("cpu").identity
    assert identity["weights_sha256"] == (
        "e2d4edd49aa6aeb411d6c7c7307ae3b74f8fa5ec208b59e5230003102730c3ff"
    )


@pytest.mark.parametrize("resolution", [8, 32, 100])
def test_shapes_depend_on_their_number_alone_and_look_alike_at_every_size(resolution: int) -> None:
    dataset = ShapesDataset(resolution)
    pair = next(dataset.batches([3, 9], 2))
    alone = next(dataset.batches([9], 1))
    assert torch.equal(pair[1], alone[0])
    assert pair.shape == (2, 3, resolution, resolution)
    large = next(ShapesDataset(256).batches([3, 9], 2)).float()
    means = large.mean(dim=(2, 3)) - pair.float().mean(dim=(2, 3))
    assert means.abs().max() < 6


def test_shapes_have_every_class() -> None:
    labels = ShapesDataset(8).labels(range(500))
    assert set(labels) == set(range(len(CLASSES)))


class Noisy:
    """A generator whose image i is scene i with noise of a given strength."""

    resolution = 32

    def __init__(self, strength: float) -> None:
        self.strength = strength
        self.scenes = ShapesDataset(32)

    def draw_latents(self, seeds: list[int]) -> list[int]:
        return list(seeds)

    def synthesize(self, latents: list[int]) -> torch.Tensor:
        pixels = next(self.scenes.batches(latents, len(latents))).float() / 127.5 - 1
        source = torch.Generator().manual_seed(latents[0])
        return pixels + self.strength * torch.randn(pixels.shape, generator=source)


def measured(strength: float, batch: int = 16, samples: int = 96) -> dict[str, float | None]:
    probe = QualityProbe(
        dataset=ShapesDataset(32),
        extractor=UntrainedExtractor("cpu"),
        samples=samples,
        seed=0,
        batch=batch,
        progress=lambda *_: None,
    )
    return {reading.metric: reading.value for reading in probe(Noisy(strength))}


def test_the_distance_grows_with_noise_and_fid_is_null() -> None:
    distances = [measured(strength)["fd[untrained-64]"] for strength in (0.0, 0.3, 1.0)]
    assert distances == sorted(distances)
    assert measured(0.0)["fid"] is None


def test_quality_does_not_depend_on_the_batch_size() -> None:
    first, second = (measured(0.0, batch=size)["fd[untrained-64]"] for size in (7, 32))
    assert first == pytest.approx(second, abs=1e-5)


def test_too_few_images_give_null_with_the_reason() -> None:
    probe = QualityProbe(
        dataset=ShapesDataset(32),
        extractor=UntrainedExtractor("cpu"),
        samples=1,
        seed=0,
        batch=4,
        progress=lambda *_: None,
    )
    readings = list(probe(Noisy(0.0)))
    assert all(r.value is None and r.reason and "at least 2" in r.reason for r in readings)


class FakeStandard:
    name = "inception-v3"
    standard = True

    def __init__(self) -> None:
        self.identity = {"name": self.name, "weights_sha256": weights.SHA256, "resize": "x"}

    def __call__(self, images: torch.Tensor) -> Features:
        pooled = images.float().mean(dim=(2, 3))
        return Features(pooled, pooled)


def test_only_a_standard_extractor_gives_fid_kid_and_is() -> None:
    probe = QualityProbe(
        dataset=ShapesDataset(16),
        extractor=FakeStandard(),
        samples=20,
        seed=0,
        batch=8,
        progress=lambda *_: None,
    )
    generator = Noisy(0.1)
    generator.scenes = ShapesDataset(16)
    assert [r.metric for r in probe(generator)] == ["fid", "kid", "is"]


@pytest.fixture
def server() -> Iterator[tuple[str, bytes]]:
    content = b"weights" * 100

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}/w.pth", content
        httpd.shutdown()
        thread.join()


def test_a_download_is_kept_only_when_its_digest_is_right(
    server: tuple[str, bytes], tmp_path: Path
) -> None:
    url, content = server
    right = weights.WeightsFile(url, len(content), hashlib.sha256(content).hexdigest())
    weights.download(tmp_path / "a" / "w.pth", right)
    assert (tmp_path / "a" / "w.pth").read_bytes() == content
    wrong = weights.WeightsFile(url, len(content), "0" * 64)
    with pytest.raises(WeightsError, match="nothing was kept"):
        weights.download(tmp_path / "b" / "w.pth", wrong)
    assert list((tmp_path / "b").iterdir()) == []


def test_a_failed_download_says_where_to_put_the_file(tmp_path: Path) -> None:
    nowhere = weights.WeightsFile("http://127.0.0.1:9/w.pth", 1, "0" * 64)
    with pytest.raises(WeightsError, match=r"^http[^\n]+put the file at [^\n]+by hand"):
        weights.download(tmp_path / "w.pth", nowhere)


def test_inception_is_found_in_the_cache_only_with_the_right_digest(tmp_path: Path) -> None:
    assert weights.locate("auto", tmp_path).kind == weights.BUILT_IN
    assert weights.locate("none", tmp_path).kind == weights.BUILT_IN
    cached = tmp_path / "hub" / "checkpoints" / weights.NAME
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"x")
    with pytest.raises(WeightsError, match="delete the damaged file"):
        weights.locate("auto", tmp_path)
    own = weights.locate(str(cached), tmp_path / "other")
    assert own.kind == weights.INCEPTION
    with pytest.raises(WeightsError, match="no such file"):
        weights.locate("missing.pth", tmp_path)
