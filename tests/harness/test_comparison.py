from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from seeing import Means, compared, forward, preprocessing, scenes

from sfbench.api.errors import DataError, UsageError
from sfbench.api.protocols import Picture
from sfbench.data.containers.files import ImageFiles
from sfbench.data.dataset import ContainerDataset
from sfbench.data.shapes import ShapesDataset
from sfbench.quality import memorization, neighbors
from sfbench.quality.feature_store import FeatureStore
from sfbench.quality.image_sets import RealImages, chosen
from sfbench.quality.inception_score import inception_score, looks_sorted
from sfbench.quality.neighbors import (
    manifolds,
    nearest_others,
    nearest_real,
    nearest_rows,
    share,
)
from sfbench.quality.protocols import protocol_names, read_protocols
from sfbench.quality.reference_file import MANY, is_reference_file, read_reference, write_reference
from sfbench.quality.resizing import resized
from sfbench.quality.spacing import KeptSpacing
from sfbench.quality.statistics import moments_of
from sfbench.quality.vendi import vendi_score
from sfbench.values.sizes import square

pytestmark = pytest.mark.fast


def test_every_protocol_is_read_and_gives_names_of_its_own(tmp_path: Path) -> None:
    assert len(protocol_names()) == 18
    assert protocol_names()[0] == "sfbench"
    readings = compared(Means(), tmp_path, protocol_names())
    names = [reading.metric for reading in readings]
    assert len(names) == len(set(names))
    assert not {"fid", "kid", "is", "sfid", "cmmd"} & {name.partition("[")[0] for name in names}
    with pytest.raises(UsageError, match="expected all, or any of sfbench, adm"):
        read_protocols("nothing")


def test_every_reading_says_how_it_was_made_and_how_sure_it_is(tmp_path: Path) -> None:
    for reading in compared(Means(), tmp_path, ["sfbench"]):
        if reading.value is None:
            assert reading.reason
            continue
        assert reading.low is not None, reading.metric
        assert reading.low <= reading.value <= reading.high, reading.metric
        how = reading.how
        assert how["extractor"]["weights_sha256"] == "0" * 64
        assert how["extractor"]["resize"] == "pil-bicubic"
        assert (how["generated"], how["real"], how["protocol"]) == (60, 70, "sfbench")
        assert how["reference"]["name"] == "shapes"


@pytest.fixture
def odd_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "odd"
    folder.mkdir()
    source = np.random.default_rng(0)
    for index in range(12):
        side = (9 + index, 30 - index)
        pixels = source.integers(0, 256, (*side, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index:02d}.png")
    Image.new("RGBA", (9, 9), (1, 2, 3, 4)).save(folder / "20.png")
    (folder / "21.png").write_bytes((folder / "00.png").read_bytes()[:90])
    (folder / "22.png").write_text("no image")
    return folder


def test_bad_images_are_left_out_by_name_and_counted(odd_folder: Path, tmp_path: Path) -> None:
    dataset = ContainerDataset(ImageFiles(odd_folder), None, "0" * 64)
    image_set = RealImages(dataset=dataset, indices=range(len(dataset)))
    store = FeatureStore(tmp_path / "store")
    extracted = forward().extract(image_set, preprocessing(Means()), store, logits=False)
    assert len(extracted.statistics) == 13
    assert sorted(extracted.bad) == [13, 14]
    assert "21.png cannot be read" in extracted.bad[13]
    assert extracted.notes == {"transparency dropped": 1}
    alone = Means()(resized(dataset.read(3).pixels[None], "pil-bicubic", 8)).pooled
    np.testing.assert_allclose(extracted.statistics.features[3], alone[0].numpy(), rtol=1e-6)


def test_nothing_but_bad_images_is_an_error_that_names_one(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no image")
    dataset = ContainerDataset(ImageFiles(tmp_path), None, "0" * 64)
    image_set = RealImages(dataset=dataset, indices=range(1))
    with pytest.raises(DataError, match=r"none of the 1 can be read: .*a\.png"):
        forward().extract(
            image_set, preprocessing(Means()), FeatureStore(tmp_path / "s"), logits=False
        )


def test_a_class_without_images_is_null_with_the_reason(tmp_path: Path) -> None:
    mine, theirs = (
        ShapesDataset(square(16)).labels(range(60)),
        ShapesDataset(square(16)).labels(range(500, 570)),
    )
    own = [0 if label == 4 else label for label in mine]
    readings = compared(Means(), tmp_path, ["sfbench"], per_class=(own, theirs))
    found = {r.metric: r for r in readings if "class" in r.metric and "score" not in r.metric}
    assert found["fd[means, class 1]"].value is not None
    assert found["fd[means, class 4]"].value is None
    assert "0 generated" in str(found["fd[means, class 4]"].reason)


def test_a_statistics_file_gives_the_same_distance_as_its_images(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path / "store")
    extracted = forward().extract(scenes(500, 70), preprocessing(Means()), store, logits=False)
    path = tmp_path / "real.npz"
    write_reference(
        path, moments_of(extracted.statistics.features), {"name": "scenes", "sha256": None}
    )
    assert is_reference_file(path)
    by_images = compared(Means(), tmp_path, ["sfbench"])[0]
    by_file = compared(
        Means(), tmp_path, ["sfbench"], reference=None, statistics=read_reference(path)
    )
    assert by_file[0].value == pytest.approx(by_images.value, rel=1e-12)
    assert by_file[0].how["real"] == 70
    kernel = next(r for r in by_file if r.metric.startswith("kd["))
    assert "only moments" in str(kernel.reason)


def test_statistics_of_other_packages_are_read_and_ours_have_their_keys(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(50, 12)).astype(np.float32)
    moments = moments_of(rows)
    np.savez(tmp_path / "peer.npz", mu=moments.mean, sigma=moments.covariance)
    found = read_reference(tmp_path / "peer.npz")
    assert found.moments.count == MANY
    assert np.array_equal(found.moments.covariance, moments.covariance)
    write_reference(tmp_path / "own.npz", moments, {"name": "x"}, spatial=moments)
    with np.load(tmp_path / "own.npz", allow_pickle=False) as archive:
        assert {"mu", "sigma", "mu_s", "sigma_s"} <= set(archive.files)
        assert json.loads(str(archive["sfbench"])) == {"name": "x"}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"mu": np.zeros(3), "sigma": np.zeros((2, 2))}, "are not mean and covariance"),
        (
            {"mu": np.zeros(2), "sigma": np.array([[1.0, 5.0], [0.0, 1.0]])},
            "not finite and symmetric",
        ),
        (
            {"mu": np.zeros(2), "sigma": np.array([[1.0, 2.0], [2.0, 1.0]])},
            "sigma has an eigenvalue of -1 .largest 3.; expected a covariance",
        ),
        ({"mu": np.array([{}], dtype=object), "sigma": np.zeros((1, 1))}, "cannot be read"),
    ],
)
def test_a_wrong_statistics_file_is_refused_in_one_line(
    arrays: dict[str, np.ndarray], message: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(DataError, match=message):
        read_reference(tmp_path / "bad.npz")


def test_a_reference_of_another_extractor_is_refused(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(50, 7)).astype(np.float32)
    write_reference(tmp_path / "r.npz", moments_of(rows), {"name": "x"})
    with pytest.raises(UsageError, match="expected 12 features by means, found 7"):
        compared(
            Means(),
            tmp_path,
            ["sfbench"],
            reference=None,
            statistics=read_reference(tmp_path / "r.npz"),
        )


def test_precision_and_recall_tell_lost_and_added_modes() -> None:
    source = np.random.default_rng(0)
    modes = np.repeat(np.eye(4, 6) * 50, 60, axis=0)
    real = (modes + source.normal(size=modes.shape)).astype(np.float32)
    fewer = real[:120] + source.normal(size=(120, 6)).astype(np.float32) * 0.3
    both = manifolds(fewer, real, k=3)["<"]
    assert both.precision.value > 0.8
    assert both.recall.value == pytest.approx(0.5, abs=0.1)
    assert both.precision.low < both.precision.value <= both.precision.high


def test_the_rule_for_ties_decides_on_duplicates_and_says_so() -> None:
    rows = np.repeat(np.arange(5, dtype=np.float32)[:, None], 3, axis=1)
    found = manifolds(rows + 1, rows, k=1)
    assert found["<"].tied
    assert found["<="].precision.value > found["<"].precision.value


def test_copies_are_found_and_new_images_are_not_called_so() -> None:
    source = np.random.default_rng(0)
    real = source.normal(size=(200, 8)).astype(np.float32)
    copies = real[:50] + 1e-3 * source.normal(size=(50, 8)).astype(np.float32)
    fresh = source.normal(size=(50, 8)).astype(np.float32)
    found = nearest_real(copies, real)
    assert found.index.tolist() == list(range(50))
    assert found.copied.all()
    assert not found.authentic.any()
    assert nearest_real(fresh, real).copied.mean() < 0.1


def test_neighbors_are_the_same_however_rows_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    source = np.random.default_rng(1)
    real = source.normal(size=(90, 6)).astype(np.float32)
    generated = np.concatenate([real[:7], source.normal(size=(40, 6)).astype(np.float32)])
    whole = nearest_real(generated, real), manifolds(generated, real, k=3)
    for module in (neighbors, memorization):
        monkeypatch.setattr(module, "PART_ROWS", 4)
        monkeypatch.setattr(module, "OTHER_ROWS", 11)
    found = nearest_real(generated, real)
    apart = np.linalg.norm(generated[:, None].astype(float) - real, axis=2)
    assert found.index.tolist() == whole[0].index.tolist() == apart.argmin(axis=1).tolist()
    assert found.distance == pytest.approx(apart.min(axis=1), rel=1e-12, abs=1e-12)
    assert found.distance[:7].tolist() == [0.0] * 7
    assert manifolds(generated, real, k=3) == whole[1]
    assert manifolds(generated, real, k=3, spacing=nearest_others(real, 5)) == whole[1]
    lengths = np.linalg.norm(real, axis=1)[:, None] * np.linalg.norm(generated, axis=1)
    cosines = np.abs(real.astype(float) @ generated.T) / lengths
    near = memorization.nearness(generated, real)
    assert near == pytest.approx(1 - cosines.max(axis=1).mean(), rel=1e-6)


def test_an_image_whose_features_are_not_finite_is_one_image_and_none_is_none() -> None:
    source = np.random.default_rng(3)
    real, generated = (source.normal(size=(200, 8)).astype(np.float32) for _ in range(2))
    whole = manifolds(generated, real, k=3)["<"]
    generated[7, 2] = np.nan
    found = manifolds(generated, real, k=3)["<"]
    assert found.recall.value == pytest.approx(whole.recall.value, abs=0.03)
    assert found.precision.value == pytest.approx(whole.precision.value, abs=0.01)
    assert len(nearest_real(generated[:0], real).distance) == 0
    assert len(neighbors.realism(generated[:0], real, k=3)) == 0
    with pytest.raises(ValueError, match="0 images; more than k = 3 are needed"):
        manifolds(generated[:0], real, k=3)


def test_distances_between_real_images_are_measured_once(tmp_path: Path) -> None:
    source = np.random.default_rng(2)
    real, generated = (source.normal(size=(n, 4)).astype(np.float32) for n in (60, 30))
    asked: list[int] = []

    def measured(rows: np.ndarray) -> np.ndarray:
        asked.extend(rows.tolist())
        return nearest_rows(real[rows], real, 2).distance[:, 1]

    kept = KeptSpacing(tmp_path / "spacing.zip", 60)
    first = kept.of(np.array([3, 9]), measured)
    assert first == pytest.approx(nearest_others(real, 1)[[3, 9], 0].numpy())
    assert kept.of(np.array([9, 4, 3]), measured)[[2, 0]].tolist() == first.tolist()
    assert asked == [3, 9, 4]
    alone = nearest_real(generated, real)
    assert nearest_real(generated, real, kept).authentic.tolist() == alone.authentic.tolist()
    for damaged in (b"", b"no array", np.zeros(59).tobytes()):
        kept.file.write_bytes(damaged)
        assert kept.of(np.array([3, 9]), measured) == pytest.approx(first)
    nowhere = KeptSpacing(tmp_path / "no folder" / "spacing.zip", 60)
    assert nowhere.of(np.array([3, 9]), measured) == pytest.approx(first)


@pytest.mark.parametrize(("count", "of"), [(0, 9), (9, 9), (3, 9), (500, 1000)])
def test_a_share_lies_in_its_interval(count: int, of: int) -> None:
    found = share(count, of)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.low < found.high


def test_the_vendi_score_of_orthogonal_images_is_their_number() -> None:
    assert vendi_score(np.eye(7, dtype=np.float32)).value == pytest.approx(7)
    assert vendi_score(np.ones((7, 5), np.float32)).value == pytest.approx(1)


def test_sorted_samples_are_noticed_and_move_a_score_in_stored_order() -> None:
    labels = np.repeat(np.arange(10), 30)
    logits = (np.eye(10)[labels] * 6).astype(np.float32)
    assert looks_sorted(logits)
    shuffled = logits[np.random.default_rng(0).permutation(300)]
    assert not looks_sorted(shuffled)
    stored = inception_score(logits, order="stored").mean
    assert stored < 0.5 * inception_score(logits).mean


class Broken:
    """A data set whose third image cannot be read."""

    identity = {"name": "broken", "sha256": None, "resolution": 16, "resize": "none"}  # noqa: RUF012

    def __len__(self) -> int:
        return 5

    def read(self, index: int) -> Picture:
        if index == 2:
            msg = "broken: number 2"
            raise DataError(msg)
        return ShapesDataset(square(16)).read(index)

    def labels(self, _indices: Sequence[int]) -> None:
        return None


def test_the_count_of_a_reading_is_that_of_readable_images(tmp_path: Path) -> None:
    broken = RealImages(dataset=Broken(), indices=range(5))
    readings = compared(Means(), tmp_path, ["sfbench"], generated=broken)
    assert readings[0].how["generated"] == 4
    assert readings[0].how["unreadable"] == [1, 0]


def test_a_statistics_file_of_another_way_of_resizing_gives_null(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(50, 12)).astype(np.float32)
    about = {"name": "x", "sha256": None, "extractor": {"resize": "torch-bilinear", "scale": "own"}}
    write_reference(tmp_path / "r.npz", moments_of(rows), about)
    readings = compared(
        Means(),
        tmp_path,
        ["sfbench", "torchmetrics-1.9"],
        reference=None,
        statistics=read_reference(tmp_path / "r.npz"),
    )
    assert [reading.value for reading in readings] == [None, None]
    assert "made with resize torch-bilinear" in str(readings[0].reason)


def test_a_file_with_statistics_and_images_serves_each_metric_with_its_part(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(50, 12)).astype(np.float32) * 90 + 100
    np.savez(
        tmp_path / "adm.npz",
        mu=moments_of(rows).mean,
        sigma=moments_of(rows).covariance,
        arr_0=np.zeros((1, 4, 4, 3), np.uint8),
    )
    statistics = read_reference(tmp_path / "adm.npz")
    found = {r.metric: r.value for r in compared(Means(), tmp_path, ["adm"], statistics=statistics)}
    without = {r.metric: r.value for r in compared(Means(), tmp_path, ["adm"])}
    name = "fd[means, adm]"
    assert found[name] != without[name]
    assert found["precision[means, adm]"] == without["precision[means, adm]"]


def test_nothing_asked_for_is_an_error_of_one_line() -> None:
    with pytest.raises(UsageError, match="--samples -5: at least 1"):
        chosen(20, -5, 0)
    with pytest.raises(UsageError, match="no images"):
        chosen(0, None, 0)
    assert chosen(20, 3, 0) == chosen(20, 3, 0)
    assert chosen(3, 20, 0) == [0, 1, 2]
