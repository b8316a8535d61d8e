from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from seeing import Means, forward, preprocessing, scenes

from sfbench.api.errors import UsageError
from sfbench.data.containers.files import ImageFiles
from sfbench.data.dataset import ContainerDataset
from sfbench.data.shapes import ShapesDataset
from sfbench.quality.comparison import Comparison
from sfbench.quality.explain import Explanation
from sfbench.quality.feature_store import FeatureStore
from sfbench.quality.image_sets import RealImages
from sfbench.quality.protocols import protocol_names, read_protocol
from sfbench.values.sizes import square

pytestmark = pytest.mark.fast


def odd_files(folder: Path) -> RealImages:
    """Return eight images: one lies on its side, one is 16-bit gray, the others are plain."""
    folder.mkdir()
    for number in range(8):
        picture = Image.fromarray(ShapesDataset(square(16)).draw(number).transpose(1, 2, 0))
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


def test_only_our_own_cards_turn_images() -> None:
    turning = [name for name in protocol_names() if read_protocol(name).reading == "upright"]
    assert turning == ["sfbench", "spectral-slope"]


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
    labels = "labels: drawn as often as in the data -> those of the given images; "
    assert few.left_out == [
        f"{labels}it shows where images are generated (--labels)",
        "kd[means]: 60 images; at least 1000 needed",
    ]
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
