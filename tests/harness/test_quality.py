from __future__ import annotations

import dataclasses
import hashlib
import http.server
import itertools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from sfbench.api.errors import UsageError, WeightsError
from sfbench.api.protocols import FeatureExtractor, Features
from sfbench.api.spec import WeightsFile
from sfbench.data.shapes import CLASSES, ShapesDataset
from sfbench.quality import weights
from sfbench.quality.extractors import choose, offers, open_extractor
from sfbench.quality.frechet import frechet_distance
from sfbench.quality.inception_score import inception_score
from sfbench.quality.kernel import kernel_distance, subset_discrepancy
from sfbench.quality.names import MetricNames
from sfbench.quality.probe import QualityProbe
from sfbench.quality.published import EMBEDDED, INCEPTION, STANDARD, embedded_card
from sfbench.quality.statistics import FeatureStatistics, Moments, merged
from sfbench.testing import check_extractor
from sfbench.values.pixels import to_bytes, to_rgb
from sfbench.values.records import Reading
from sfbench.values.sizes import square

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


def test_logits_follow_their_images_and_are_whole_or_absent() -> None:
    rows, logits = np.eye(4, dtype=np.float32), np.arange(8, dtype=np.float32).reshape(4, 2)
    late = FeatureStatistics.of([2, 3], rows[2:], logits[2:])
    early = FeatureStatistics.of([0, 1], rows[:2], logits[:2])
    both = late + early
    assert both.indices.tolist() == [0, 1, 2, 3]
    assert both.logits is not None
    assert np.array_equal(both.logits, logits)
    assert (late + FeatureStatistics.of([0, 1], rows[:2])).logits is None


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
    first, second = torch.tensor([[1.0], [2.0]]), torch.tensor([[0.0], [1.0]])
    expected = 27 + 1 - 2 * (1 + 8 + 1 + 27) / 4
    assert subset_discrepancy(first.double(), second.double()) == pytest.approx(expected)


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


@pytest.fixture(scope="module")
def embedded() -> FeatureExtractor:
    return open_extractor(choose(EMBEDDED, "auto", Path("nowhere"), offers([])), "cpu")


def test_the_embedded_extractor_holds_to_the_contract_and_is_named_as_what_it_is(
    embedded: FeatureExtractor,
) -> None:
    assert [r for r in check_extractor(embedded) if not r.passed] == []
    names = MetricNames("sfbench", embedded)
    assert names.frechet == "fd[cifar-cnn7]"
    assert names.kernel == "kd[cifar-cnn7]"
    assert names.score == "class_score[cifar-cnn7]"
    assert MetricNames("adm", embedded).frechet == "fd[cifar-cnn7, adm]"


def test_the_embedded_weights_are_those_of_their_card_and_small(embedded: FeatureExtractor) -> None:
    card = embedded_card()
    assert embedded.identity["weights_sha256"] == card["sha256"]
    assert card["size"] < 4_000_000
    assert card["test_accuracy"] >= 0.85


@pytest.mark.parametrize("resolution", [8, 32, 100])
def test_shapes_depend_on_their_number_alone_and_look_alike_at_every_size(resolution: int) -> None:
    dataset = ShapesDataset(square(resolution))
    image = dataset.read(9).pixels
    assert image.shape == (3, resolution, resolution)
    assert torch.equal(image, ShapesDataset(square(resolution)).read(9).pixels)
    large = ShapesDataset(square(256)).read(9).pixels.float()
    means = large.mean(dim=(1, 2)) - image.float().mean(dim=(1, 2))
    assert means.abs().max() < 6


def test_shapes_have_every_class() -> None:
    labels = ShapesDataset(square(8)).labels(range(500))
    assert set(labels) == set(range(len(CLASSES)))


class Noisy:
    """A generator whose image i is scene i with noise of a given strength."""

    resolution = 32

    def __init__(self, strength: float) -> None:
        self.strength = strength
        self.scenes = ShapesDataset(square(32))

    def draw_latents(self, seeds: list[int]) -> list[int]:
        return list(seeds)

    def synthesize(self, latents: list[int]) -> torch.Tensor:
        scenes = [self.scenes.read(index).pixels for index in latents]
        pixels = torch.stack(scenes).float() / 127.5 - 1
        source = torch.Generator().manual_seed(latents[0])
        return pixels + self.strength * torch.randn(pixels.shape, generator=source)


Measure = Callable[..., list[Reading]]


@pytest.fixture
def measured(embedded: FeatureExtractor, tmp_path: Path) -> Measure:
    def measure(
        strength: float = 0.0,
        *,
        batch: int = 16,
        samples: int = 96,
        extractor: FeatureExtractor = embedded,
    ) -> list[Reading]:
        probe = QualityProbe(
            dataset=ShapesDataset(square(32)),
            extractor=extractor,
            samples=samples,
            seed=0,
            batch=batch,
            device="cpu",
            store=tmp_path / "features",
            progress=lambda *_: None,
        )
        return list(probe(Noisy(strength)))

    return measure


def test_the_distance_grows_with_noise(measured: Measure) -> None:
    distances = [measured(strength)[0].value for strength in (0.0, 0.3, 1.0)]
    assert measured()[0].metric == "fd[cifar-cnn7]"
    assert distances == sorted(distances)


def test_nothing_is_called_by_the_standard_names_without_the_standard_weights(
    measured: Measure,
) -> None:
    assert {r.metric for r in measured()} & {"fid", "kid", "is", "sfid", "cmmd"} == set()


def test_quality_does_not_depend_on_the_batch_size(measured: Measure) -> None:
    first, second = (measured(batch=size)[0].value for size in (7, 32))
    assert first == pytest.approx(second, abs=1e-5)


def test_too_few_images_give_null_with_the_reason(measured: Measure) -> None:
    readings = measured(samples=1)
    assert all(r.value is None and r.reason and "at least 2" in r.reason for r in readings)


class FakeStandard:
    name = INCEPTION
    standard = True
    side = 16
    resize = "pil-bicubic"

    def __init__(self) -> None:
        self.identity = {"name": self.name, "weights_sha256": STANDARD.sha256, "features": 3}

    def __call__(self, images: torch.Tensor) -> Features:
        pooled = images.mean(dim=(2, 3))
        return Features(pooled, pooled, images.flatten(1)[:, :5])


def test_a_standard_extractor_gives_fid_kid_is_and_sfid(measured: Measure) -> None:
    found = {r.metric: r for r in measured(0.1, samples=60, extractor=FakeStandard())}
    assert {"fid", "kid", "is", "is_single", "sfid", "kid_whole"} <= set(found)
    fid = found["fid"]
    assert fid.low < fid.value < fid.high
    assert fid.how["debiased"] < fid.value
    assert fid.how["extractor"]["weights_sha256"] == STANDARD.sha256
    assert fid.how["extractor"]["resize"] == "pil-bicubic"
    assert (fid.how["generated"], fid.how["real"]) == (60, 60)


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
    right = WeightsFile(
        name="w.pth", url=url, size=len(content), sha256=hashlib.sha256(content).hexdigest()
    )
    weights.download(tmp_path / "a" / "w.pth", right)
    assert (tmp_path / "a" / "w.pth").read_bytes() == content
    wrong = dataclasses.replace(right, sha256="0" * 64)
    with pytest.raises(WeightsError, match="nothing was kept"):
        weights.download(tmp_path / "b" / "w.pth", wrong)
    assert list((tmp_path / "b").iterdir()) == []


def test_a_failed_download_says_where_to_put_the_file(tmp_path: Path) -> None:
    nowhere = WeightsFile(name="w.pth", url="http://127.0.0.1:9/w.pth", size=1, sha256="0" * 64)
    with pytest.raises(WeightsError, match=r"^http[^\n]+put the file at [^\n]+by hand"):
        weights.download(tmp_path / "w.pth", nowhere)


def test_inception_is_chosen_from_the_cache_only_with_the_right_digest(tmp_path: Path) -> None:
    there = offers([])
    assert choose("auto", "auto", tmp_path, there).kind == EMBEDDED
    with pytest.raises(WeightsError, match=r"no weights at .*--extractor-weights download"):
        choose(INCEPTION, "auto", tmp_path, there)
    cached = weights.place(STANDARD, tmp_path)
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"x")
    with pytest.raises(WeightsError, match="delete the damaged file"):
        choose("auto", "auto", tmp_path, there)
    own = choose("auto", str(cached), tmp_path / "other", there)
    assert own.kind == INCEPTION
    assert own.sha256 == hashlib.sha256(b"x").hexdigest()
    with pytest.raises(WeightsError, match="no such file"):
        choose(INCEPTION, "missing.pth", tmp_path, there)


@pytest.mark.parametrize("name", ["inception", "timm", "cifar-cnn7:x"])
def test_an_extractor_that_nobody_offers_is_refused_with_the_names(name: str) -> None:
    listed = {"name": "timm", "summary": "", "weights": [], "variants": "MODEL"}
    with pytest.raises(
        UsageError,
        match="expected auto, inception-v3, vgg16, cifar-cnn7, haar-packets, power-spectrum, "
        "timm:MODEL",
    ):
        choose(name, "auto", Path("nowhere"), offers([listed]))


def test_a_file_without_a_published_digest_is_never_downloaded(tmp_path: Path) -> None:
    file = {"name": "w.pth", "url": "http://127.0.0.1:9/w.pth"}
    listed = {"name": "own", "summary": "", "weights": [file]}
    with pytest.raises(WeightsError, match="no digest is known"):
        choose("own", "download", tmp_path, offers([listed]))
