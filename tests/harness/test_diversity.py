"""LPIPS diversity: pairs within classes, and the mean over them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import models

from sfbench.quality.diversity import pairs_within

Command = Callable[..., subprocess.CompletedProcess[str]]
FAULTS = str(Path(__file__).with_name("misbehaving.py"))


@pytest.fixture(scope="module")
def vgg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("vgg") / "vgg16.pth"
    torch.save(models.vgg16(weights=None).state_dict(), path)
    return path


@pytest.mark.fast
def test_pairs_are_disjoint_within_classes_and_even_over_them() -> None:
    classes = {number: number % 3 for number in range(60)} | {60: 7}
    pairs = pairs_within(classes, 12, 0)
    assert len(pairs) == 12
    assert len({number for pair in pairs for number in pair}) == 24
    assert all(classes[a] == classes[b] for a, b in pairs)
    assert [sum(classes[a] == label for a, _ in pairs) for label in range(3)] == [4, 4, 4]
    assert pairs == pairs_within(classes, 12, 0)
    assert pairs != pairs_within(classes, 12, 1)
    assert len(pairs_within(classes, 1000, 0)) == 30
    assert pairs_within({1: 0, 2: 1}, 5, 0) == []


def test_within_a_class_images_are_more_alike_than_over_all(
    sfbench: Command, tmp_path: Path, vgg: Path
) -> None:
    pytest.importorskip("lpips")
    source = np.random.RandomState(0)
    folder = tmp_path / "classes"
    labels = []
    for index in range(24):
        folder.mkdir(exist_ok=True)
        base = np.full((32, 32, 3), 40 if index % 2 else 200) + source.randint(-30, 30, (32, 32, 3))
        Image.fromarray(base.astype(np.uint8)).save(folder / f"{index:02d}.png")
        labels.append([f"{index:02d}.png", index % 2])
    asked = ("diversity", "--images", str(folder), "--vgg-weights", str(vgg), "--json")
    (over_all,) = json.loads(sfbench(*asked).stdout)
    (folder / "dataset.json").write_text(json.dumps({"labels": labels}))
    done = sfbench(*asked, "--reference", str(folder))
    assert done.returncode == 0, done.stderr
    within, real = json.loads(done.stdout)
    assert within["how"]["classes"] == 2
    assert within["how"]["pairs"] == 12
    assert over_all["how"]["classes"] == 1
    assert within["value"] < over_all["value"]
    assert within["low"] < within["value"] < within["high"]
    assert real["value"] == within["value"]
    assert real["metric"].endswith("reference]")


def test_a_model_is_judged_on_pairs_of_its_seeds(sfbench: Command, vgg: Path) -> None:
    pytest.importorskip("lpips")
    model = ("diversity", "--model", "fault-none", "--plugin", FAULTS, "--vgg-weights", str(vgg))
    done = sfbench(*model, "--res", "16", "--pairs", "5", "--json")
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)
    assert found["value"] > 0
    assert found["how"]["pairs"] == 5
    weights = ("--vgg-weights", str(vgg))
    small = sfbench("diversity", "--model", "synthetic", *weights, "--res", "8", "--pairs", "2")
    assert small.returncode != 0
    assert "16 px" in small.stderr
