from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from seeing import Means, compared, forward, preprocessing, scenes

from sfbench.quality import feature_store
from sfbench.quality.feature_store import FeatureStore
from sfbench.quality.features import Share

pytestmark = pytest.mark.fast


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
