"""Other packages, run themselves on the same files, beside this project's numbers by their cards."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sfbench.api.errors import UsageError
from sfbench.cli.verifying import names_of, with_cards
from sfbench.quality.peers.verification import Answer, Verified, compared
from sfbench.quality.protocols import read_protocol
from sfbench.report.verification import table

Command = Callable[..., subprocess.CompletedProcess[str]]
NAMES = {"frechet": "fid[x]", "kernel": "kid[x]", "score": "is[x]"}


def files(folder: Path, seed: int) -> Path:
    """Make a folder of files of several kinds and sizes, one of them damaged."""
    folder.mkdir()
    source = np.random.default_rng(seed)
    for number, suffix in enumerate(["png", "jpg", "bmp", "png", "jpg", "png"] * 2):
        side = 24 + 8 * (number % 2)
        pixels = source.integers(0, 256, (side, side, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"image {number:02d}.{suffix}")
    (folder / "image 99.png").write_bytes(b"not an image")
    return folder


def test_the_packages_themselves_agree(
    sfbench: Command, inception_weights: Path, tmp_path: Path
) -> None:
    sides = [str(files(tmp_path / name, seed)) for seed, name in enumerate(("made", "real"))]
    asked = ["quality", "--images", sides[0], "--reference", sides[1]]
    weights = ["--extractor", "inception-v3", "--extractor-weights", str(inception_weights)]
    done = sfbench(*asked, *weights, "--verify", "torch-fidelity,clean-fid", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {one["metric"].split("[")[0] for one in found["verified"]} == {"fd", "kd", "class_score"}
    for one in found["verified"]:
        assert one["holds"]
        assert abs(one["difference"]) <= one["tolerance"] < 1e-2 * max(abs(one["ours"]), 1)
    assert {one["peer"].split()[0] for one in found["verified"]} == {"torch-fidelity", "clean-fid"}
    # The embedded network is not theirs, and statistics or a model are no files.
    other = sfbench(*asked, "--verify", "clean-fid", "--extractor", "cifar-cnn7")
    assert other.returncode == 2
    assert "is inception-v3, not cifar-cnn7" in other.stderr
    model = ["quality", "--model", "synthetic", "--reference", sides[1], "--res", "16"]
    assert "--verify compares files" in sfbench(*model, *weights, "--verify", "clean-fid").stderr


@pytest.mark.fast
def test_a_difference_beyond_the_cards_tolerance_fails() -> None:
    protocol = read_protocol("torch-fidelity-0.4")
    told = Answer(values={"frechet": 10.0, "score": 2.0}, versions={"torch-fidelity": "0.4.0"})
    near = compared("torch-fidelity", protocol, {"fid[x]": 10.001, "is[x]": 2.1}, NAMES, told)
    assert [one.holds for one in near] == [True, False]
    absent = compared("torch-fidelity", protocol, {}, NAMES, told)
    assert not any(one.holds for one in absent)
    broken = compared("torch-fidelity", protocol, {"fid[x]": 1.0}, NAMES, Answer(reason="died"))
    assert [(one.theirs, one.reason, one.holds) for one in broken] == [(None, "died", False)]
    assert table([*near, *absent, *broken, Verified(metric="m", peer="p", ours=None, theirs=1.0)])


@pytest.mark.fast
def test_peers_bring_their_cards_once() -> None:
    with pytest.raises(UsageError, match="--verify magic: expected torch-fidelity, clean-fid"):
        names_of("torch-fidelity,magic")
    assert names_of("clean-fid,,clean-fid") == ["clean-fid"]
    own = [read_protocol("sfbench"), read_protocol("clean-fid-0.1")]
    names = [one.name for one in with_cards(own, ["clean-fid", "torch-fidelity"])]
    assert names == ["sfbench", "clean-fid-0.1", "torch-fidelity-0.4"]
