from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sfbench.api.errors import DataError, UsageError
from sfbench.api.protocols import Features, Picture
from sfbench.data.containers.files import ImageFiles
from sfbench.data.dataset import ContainerDataset
from sfbench.data.shapes import ShapesDataset
from sfbench.quality import feature_store
from sfbench.quality.comparison import Comparison
from sfbench.quality.explain import Explanation
from sfbench.quality.feature_store import FeatureStore
from sfbench.quality.features import FeaturePass, Preprocessing, Share
from sfbench.quality.image_sets import RealImages, chosen
from sfbench.quality.inception_score import inception_score, looks_sorted
from sfbench.quality.neighbors import manifolds, nearest_real, share
from sfbench.quality.protocols import protocol_names, read_protocol, read_protocols
from sfbench.quality.reference_file import MANY, is_reference_file, read_reference, write_reference
from sfbench.quality.resizing import RESIZERS, pil_bicubic, resized, tf1_bilinear
from sfbench.quality.statistics import moments_of
from sfbench.quality.vendi import vendi_score
from sfbench.values.records import Reading

pytestmark = pytest.mark.fast


class Means:
    """Sees an image as the mean colors of its four quarters, and counts what it is shown."""

    name = "means"
    standard = False
    side = 8
    resize = "pil-bicubic"

    def __init__(self) -> None:
        self.identity: dict[str, Any] = {
            "name": "means",
            "weights_sha256": "0" * 64,
            "features": 12,
        }
        self.images = 0

    def __call__(self, images: torch.Tensor) -> Features:
        self.images += len(images)
        pooled = torch.nn.functional.avg_pool2d(images, 4).flatten(1)
        return Features(pooled, pooled[:, :5] / 10)


def forward(**arguments: Any) -> FeaturePass:
    return FeaturePass(progress=lambda *_: None, device="cpu", **arguments)


def scenes(first: int, count: int, side: int = 16) -> RealImages:
    return RealImages(dataset=ShapesDataset(side), indices=range(first, first + count))


def preprocessing(extractor: Means, resize: str = "pil-bicubic") -> Preprocessing:
    return Preprocessing(extractor, "bytes", resize)


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_store, "SHARD_IMAGES", 40)


@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize("world", [1, 2, 4])
def test_any_number_of_processes_gives_the_same_bits(world: int, tmp_path: Path) -> None:
    seeing = preprocessing(Means())
    first = forward().extract(scenes(0, 150), seeing, FeatureStore(tmp_path / "a"), logits=True)
    store = FeatureStore(tmp_path / "b")
    for rank in reversed(range(1, world)):
        part = forward(share=Share(rank=rank, world=world))
        # The others are not there yet: what this one makes must not need them.
        for number in range(rank, 4, world):
            indices = feature_store.shard_range(number, range(150))
            key = part.key(scenes(0, 150), seeing)
            part.make(scenes(0, 150), indices, {seeing: key}, number, store, (0, 150))
    last = forward(share=Share(rank=0, world=world))
    second = last.extract(scenes(0, 150), seeing, store, logits=True)
    alone, together = first.statistics, second.statistics
    assert np.array_equal(alone.features, together.features)
    assert np.array_equal(alone.moments().covariance, together.moments().covariance)


@pytest.mark.usefixtures("small_shards")
def test_an_interrupted_pass_goes_on_after_its_last_shard(tmp_path: Path) -> None:
    store, extractor = FeatureStore(tmp_path), Means()

    def stop(_what: str, done: int, _total: int) -> None:
        if done > 100:
            raise KeyboardInterrupt

    interrupted = dataclasses.replace(forward(), progress=stop)
    with pytest.raises(KeyboardInterrupt):
        interrupted.extract(scenes(0, 150), preprocessing(extractor), store, logits=True)
    assert extractor.images > 80
    extractor.images = 0
    extracted = forward().extract(scenes(0, 150), preprocessing(extractor), store, logits=True)
    assert extractor.images == 150 - 80
    assert len(extracted.statistics) == 150
    forward().extract(scenes(0, 150), preprocessing(extractor), store, logits=True)
    assert extractor.images == 150 - 80, "everything is kept: nothing is seen again"


def odd_files(folder: Path) -> RealImages:
    """Return eight images: one lies on its side, one is 16-bit gray, the others are plain."""
    folder.mkdir()
    for number in range(8):
        picture = Image.fromarray(ShapesDataset(16).draw(number).transpose(1, 2, 0))
        picture.save(folder / f"{number}.png")
    sideways = Image.Exif()
    sideways[0x0112] = 6
    picture.save(folder / "1.png", exif=sideways)
    Image.fromarray(np.full((16, 16), 33_000, np.uint16)).save(folder / "2.png")
    images = ContainerDataset(ImageFiles(folder), None, "0")
    return RealImages(dataset=images, indices=range(8))


def test_a_card_reads_files_as_its_package_does(tmp_path: Path) -> None:
    images, extractor = odd_files(tmp_path / "odd"), Means()
    ours = preprocessing(extractor)
    theirs = dataclasses.replace(ours, reading="stored")
    store = FeatureStore(tmp_path / "store")
    forward().ensure(images, [ours, theirs], store)
    upright, stored = (
        forward().extract(images, one, store, logits=False) for one in (ours, theirs)
    )
    differ = (upright.statistics.features != stored.statistics.features).any(axis=1)
    assert differ.nonzero()[0].tolist() == [1, 2]
    assert stored.statistics.features[2].tolist() == [255.0] * 12
    assert upright.statistics.features[2].tolist() == [128.0] * 12
    with Image.open(tmp_path / "odd" / "1.png") as opened:
        lying = torch.from_numpy(np.array(opened.convert("RGB"))).permute(2, 0, 1)[None]
    expected = extractor(theirs.prepared(lying)).pooled[0]
    assert np.array_equal(stored.statistics.features[1], expected.numpy())
    assert stored.notes == {"EXIF orientation ignored": 1, "16-bit gray clipped to 8 bits": 1}
    assert set(upright.notes) == {
        "turned upright by its EXIF orientation",
        "16-bit gray reduced to 8 bits",
    }


def test_images_that_read_alike_are_seen_once(tmp_path: Path) -> None:
    extractor = Means()
    both = [preprocessing(extractor)]
    both.append(dataclasses.replace(both[0], reading="stored"))
    forward().ensure(scenes(0, 9), both, FeatureStore(tmp_path))
    assert extractor.images == 9


def test_explain_names_how_files_are_read(tmp_path: Path) -> None:
    images = odd_files(tmp_path / "odd")
    comparison = Comparison(
        generated=images,
        reference=scenes(0, 40),
        protocols=[],
        open_extractor=lambda _: Means(),
        forward=forward(),
        stores=(FeatureStore(tmp_path / "a"), FeatureStore(tmp_path / "b")),
        extractor="means",
    )
    ours, theirs = read_protocol("sfbench"), read_protocol("pytorch-fid")
    steps = list(Explanation(comparison, ours, theirs).steps())
    (reading,) = [step for step in steps if step.factor == "reading"]
    assert (reading.before, reading.after) == ("upright", "stored")
    assert reading.change != 0


def test_only_our_own_card_turns_images() -> None:
    turning = [name for name in protocol_names() if read_protocol(name).reading == "upright"]
    assert turning == ["sfbench"]


@pytest.mark.usefixtures("small_shards")
def test_a_damaged_shard_is_made_again(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    first = forward().extract(scenes(0, 90), preprocessing(Means()), store, logits=True)
    key = forward().key(scenes(0, 90), preprocessing(Means()))
    store.shard_file(key, 1).write_bytes(b"PK\x03\x04 cut off")
    again = forward().extract(scenes(0, 90), preprocessing(Means()), store, logits=True)
    assert np.array_equal(first.statistics.features, again.statistics.features)


@pytest.mark.parametrize("change", ["weights", "images", "resize", "name"])
def test_what_moves_a_feature_has_a_place_of_its_own_and_a_name_has_not(
    change: str, tmp_path: Path
) -> None:
    store, extractor = FeatureStore(tmp_path), Means()
    place = store.place(forward().key(scenes(0, 9), preprocessing(extractor)))
    other, image_set, resize = Means(), scenes(0, 9), "pil-bicubic"
    if change == "weights":
        other.identity |= {"weights_sha256": "1" * 64}
    if change == "images":
        image_set = scenes(1, 9)
    if change == "resize":
        resize = "torch-bilinear"
    if change == "name":
        identity = dict(image_set.dataset.identity) | {"name": "renamed"}
        image_set.dataset.identity = identity
    found = store.place(forward().key(image_set, preprocessing(other, resize)))
    assert (found == place) == (change == "name")


def test_two_protocols_with_one_view_see_each_image_once(tmp_path: Path) -> None:
    extractor = Means()
    readings = compared(extractor, tmp_path, ["clean-fid-0.1", "sfbench"])
    assert extractor.images == 60 + 70
    names = {reading.metric for reading in readings}
    assert {"fd[means]", "fd[means, clean-fid-0.1]"} <= names


def compared(
    extractor: Means, folder: Path, protocols: Sequence[str], **arguments: Any
) -> list[Reading]:
    store = FeatureStore(folder / "store")
    sets: dict[str, Any] = {"generated": scenes(0, 60), "reference": scenes(500, 70)}
    comparison = Comparison(
        **(sets | arguments),
        protocols=[read_protocol(name) for name in protocols],
        open_extractor=lambda _: extractor,
        forward=forward(),
        stores=(store, store),
        extractor="means",
    )
    return list(comparison.readings())


def test_every_protocol_is_read_and_gives_names_of_its_own(tmp_path: Path) -> None:
    assert len(protocol_names()) == 14
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


def test_an_explanation_adds_up_to_the_gap(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    comparison = Comparison(
        generated=scenes(0, 60, 20),
        reference=scenes(500, 70, 20),
        protocols=[],
        open_extractor=lambda _: Means(),
        forward=forward(),
        stores=(store, store),
        extractor="means",
    )
    first, second = read_protocol("stylegan2-ada"), read_protocol("torchmetrics-1.9")
    assert first.kernel is not None
    assert second.kernel is not None
    few = Explanation(comparison, first, second)
    assert {step.metric for step in few.steps()} == {"fd[means]", "class_score[means]"}
    assert few.left_out == ["kd[means]: 60 images; at least 1000 needed"]
    first, second = (
        dataclasses.replace(one, kernel=dataclasses.replace(one.kernel, least=2))
        for one in (first, second)
    )
    steps = list(Explanation(comparison, first, second).steps())
    metrics = [list(group) for _, group in itertools.groupby(steps, lambda step: step.metric)]
    assert [group[0].metric for group in metrics] == [
        "fd[means]",
        "kd[means]",
        "class_score[means]",
    ]
    for group in metrics:
        start, end = group[0].value, group[-1].value
        assert start + sum(step.change for step in group) == pytest.approx(end, abs=1e-12)
    by_factor = {step.factor: step for step in metrics[0]}
    assert set(by_factor) >= {"resize", "quantization", "sample count", "ddof", "linear algebra"}
    assert by_factor["resize"].change != 0
    assert by_factor["ddof"].change > 0
    order = next(step for step in metrics[2] if step.factor == "order and splits")
    assert "stored" in order.before
    assert "torch-shuffled" in order.after


def test_protocols_that_see_differently_have_no_gap_to_split(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    comparison = Comparison(
        generated=scenes(0, 5),
        reference=scenes(9, 5),
        protocols=[],
        open_extractor=lambda _: Means(),
        forward=forward(),
        stores=(store, store),
    )
    with pytest.raises(UsageError, match="not comparable"):
        Explanation(comparison, read_protocol("adm"), read_protocol("cmmd"))


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
    mine, theirs = ShapesDataset(16).labels(range(60)), ShapesDataset(16).labels(range(500, 570))
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


@pytest.mark.parametrize("size", [(32, 32), (20, 50), (299, 299), (400, 310)])
def test_clean_resizing_is_pillows(size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    expected = np.stack(
        [
            np.asarray(
                Image.fromarray(pixels[:, :, c].astype(np.float32)).resize(
                    (299, 299), Image.Resampling.BICUBIC
                )
            )
            for c in range(3)
        ]
    ).clip(0, 255)
    found = pil_bicubic(torch.from_numpy(pixels).permute(2, 0, 1)[None], 299)[0].numpy()
    assert np.abs(found - expected).max() <= 5e-5


@pytest.mark.parametrize("size", [(32, 32), (17, 64), (320, 320), (512, 300)])
def test_tensorflow_resizing_is_torch_fidelitys_bit_for_bit(size: tuple[int, int]) -> None:
    from torch_fidelity.interpolate_compat_tensorflow import (
        interpolate_bilinear_2d_like_tensorflow1x,
    )

    source = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8, generator=source)
    expected = interpolate_bilinear_2d_like_tensorflow1x(
        images.float(), size=(299, 299), align_corners=False
    )
    assert torch.equal(tf1_bilinear(images, 299), expected)


@pytest.mark.parametrize("name", sorted(set(RESIZERS) - {"none"}))
def test_every_way_of_resizing_keeps_a_flat_image_flat(name: str) -> None:
    flat = torch.full((1, 3, 20, 30), 77, dtype=torch.uint8)
    assert (resized(flat, name, 11) - 77).abs().max() < 1e-3


def test_an_unknown_way_of_resizing_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="expected none, tf1-bilinear"):
        resized(torch.zeros(1, 3, 4, 4), "magic", 4)


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
        return ShapesDataset(16).read(index)

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
