"""Which images cost a distance: the planted ones, and as much as removing them takes away."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from making_images import images
from PIL import Image

from sfbench.inspection.blame_picture import by_class, selections
from sfbench.quality.frechet import frechet_distance, optimal_maps
from sfbench.quality.statistics import moments_of
from sfbench.quality.uncertainty import influences

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.fast
def test_planted_images_cost_most_and_what_removing_them_takes_away() -> None:
    source = np.random.default_rng(0)
    real = source.normal(size=(2000, 6)).astype(np.float32)
    rows = source.normal(size=(1000, 6)).astype(np.float32)
    rows[:20, 0] += 6
    own, other = moments_of(rows), moments_of(real)
    move, _ = optimal_maps(own, other)
    share = influences(rows, own, other.mean, move)
    share = (share - share.mean()) / len(share)
    labels = np.repeat([0, 1], [20, 980])
    found = dict(selections(rows, own, move, share, labels.tolist()))
    assert set(found["cost most"]) <= set(range(20))
    assert set(found["direction 1: too wide"]) <= set(range(20))
    assert not set(found["lower it most"]) & set(range(20))
    assert list(found)[-2:] == ["class 0", "class 1"]
    assert by_class(share, labels.tolist()).startswith("; by class 0: +")
    before = frechet_distance(own, other)
    after = frechet_distance(moments_of(np.delete(rows, 7, axis=0)), other)
    assert before - after == pytest.approx(share[7], rel=0.1)


def test_the_picture_is_drawn_with_its_caption(sfbench: Command, tmp_path: Path) -> None:
    images(tmp_path / "made.zip", 0)
    asked = ["quality", "--images", "made.zip", "--reference", "shapes", "--res", "16"]
    done = sfbench(*asked, "--samples", "40", "--blame", "b.png")
    assert done.returncode == 0, done.stderr
    assert "b.png: " in done.stderr
    assert "without the worst 1 image about" in done.stderr
    with Image.open(tmp_path / "b.png") as picture:
        assert picture.width > 200
    few = sfbench(*asked, "--samples", "2", "--blame", "b.png")
    assert few.returncode == 2
    assert "--blame: 2 images; at least 3 of each set needed" in few.stderr
    wrong = sfbench(*asked, "--blame", "b.jpg")
    assert "--blame b.jpg: expected a file name that ends in .png" in wrong.stderr
