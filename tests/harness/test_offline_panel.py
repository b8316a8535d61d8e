"""Distances without a network, and the panel of feature spaces."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sfbench.quality.frechet import frechet_distance
from sfbench.quality.influences import Influences
from sfbench.quality.packets import BANDS, PacketExtractor, wavelet_distance, wavelet_packets
from sfbench.quality.panel import Measured, flips, mean_ratio, space_of
from sfbench.quality.spectrum import SpectrumExtractor, spectral_slope
from sfbench.quality.statistics import moments_of

Command = Callable[..., subprocess.CompletedProcess[str]]


def noise(count: int, side: int = 32, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed)) * 255


def test_packets_are_an_orthonormal_split_into_256_bands() -> None:
    images = noise(2, 48).double()
    bands = wavelet_packets(images)
    assert bands.shape == (2, BANDS, 3, 3, 3)
    energy = bands.square().sum(dim=(1, 2, 3, 4))
    torch.testing.assert_close(energy, images.square().sum(dim=(1, 2, 3)))
    flat = wavelet_packets(torch.full((1, 3, 32, 32), 0.5, dtype=torch.float64))
    assert flat[0, 0].eq(8.0).all()  # 0.5 times 16: the mean of a block of 16 x 16, times its side
    assert flat[0, 1:].eq(0).all()


def test_one_level_by_hand() -> None:
    square = torch.tensor([[1.0, 2.0], [3.0, 5.0]], dtype=torch.float64)
    image = square.repeat_interleave(8, 0).repeat_interleave(8, 1).expand(1, 1, 16, 16)
    # Constant over 8 x 8: three levels of means (times 8), then one real split.
    found = sorted(one for one in wavelet_packets(image).flatten().tolist() if one)
    assert found == pytest.approx(sorted([44.0, -12.0, -20.0, 4.0]))


def test_the_distance_is_the_mean_over_bands_and_zero_of_equal_sets() -> None:
    extract = PacketExtractor()
    a, b = (extract(noise(60, seed=seed)).pooled.numpy() for seed in (0, 1))
    width = a.shape[1] // BANDS
    assert width == 12
    by_hand = [
        frechet_distance(moments_of(a[:, k : k + width]), moments_of(b[:, k : k + width]))
        for k in range(0, a.shape[1], width)
    ]
    assert wavelet_distance(a, b) == pytest.approx(sum(by_hand) / BANDS, rel=1e-12)
    assert wavelet_distance(a, a) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("exponent", [0.0, 2.0, 3.0])
def test_the_slope_of_images_of_a_known_spectrum(exponent: float) -> None:
    side, source = 256, np.random.RandomState(0)
    rows = np.fft.fftfreq(side) * side
    radius = np.hypot(rows[:, None], rows[None])
    radius[0, 0] = math.inf
    spectrum = np.fft.fft2(source.standard_normal((24, side, side))) * radius ** (-exponent / 2)
    images = np.fft.ifft2(spectrum).real
    scaled = torch.from_numpy(images / np.abs(images).max() * 100 + 127).float()
    power = SpectrumExtractor()(scaled[:, None].expand(-1, 3, -1, -1)).pooled.numpy()
    slope, influences = spectral_slope(power)
    assert slope == pytest.approx(exponent, abs=0.08)
    assert influences.mean() == pytest.approx(0, abs=1e-9)
    # The influence predicts what leaving an image out does.
    without, _ = spectral_slope(power[1:])
    assert without - slope == pytest.approx(-influences[0] / (len(power) - 1), rel=0.2, abs=1e-5)


def measured(value: float, spread: float, seed: int) -> Measured:
    source = np.random.RandomState(seed)
    own, real = (source.standard_normal(400) * spread for _ in range(2))
    kept = Influences(value=value, own=own, real=real, images=f"{seed}", reference="r")
    return Measured(value=value, influences=kept)


@pytest.mark.fast
def test_ratios_ranks_and_flips() -> None:
    held_out = measured(2.0, 0.5, 0)
    a, b = measured(4.0, 0.5, 1), measured(6.0, 0.5, 2)
    space = space_of("x", "fd[x]", [("a", a), ("b", b)], held_out)
    assert [(one.ratio, one.rank) for one in space.standings] == [(2.0, 1), (3.0, 2)]
    first = space.standings[0]
    assert first.low is not None
    assert first.high is not None
    assert first.low < 2 < first.high
    assert mean_ratio([space, space], "b") == 3
    assert mean_ratio([], "b") is None
    names = ["a", "b"]
    alike = [("x", {"a": a, "b": b}), ("y", {"a": a, "b": b})]
    assert list(flips(names, alike)) == []
    (certain,) = flips(names, [("x", {"a": a, "b": b}), ("y", {"a": b, "b": a})])
    assert certain.certain
    assert (certain.a_ahead, certain.b_ahead) == (("x",), ("y",))
    vague = measured(4.01, 5.0, 3), measured(4.0, 5.0, 4)
    (open_one,) = flips(names, [("x", {"a": a, "b": b}), ("y", {"a": vague[0], "b": vague[1]})])
    assert not open_one.certain
    nothing = space_of("x", "fd[x]", [("a", a)], measured(0.0, 0.5, 0))
    assert nothing.standings == ()
    assert nothing.reason is not None


def folder(path: Path, count: int, seed: int, side: int = 16, coarse: int = 4) -> Path:
    path.mkdir()
    source = np.random.RandomState(seed)
    for index in range(count):
        small = source.randint(0, 256, (coarse, coarse, 3)).astype(np.uint8)
        Image.fromarray(small).resize((side, side)).save(path / f"{index:03d}.png")
    return path


def test_the_panel_from_folders(sfbench: Command, tmp_path: Path) -> None:
    real = folder(tmp_path / "real", 80, 0)
    alike = folder(tmp_path / "alike", 40, 1)
    coarse = folder(tmp_path / "coarse", 40, 2, coarse=2)
    asked = ("panel", str(alike), str(coarse), "--reference", str(real), "--res", "16")
    done = sfbench(*asked, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["images"] == found["reference_images"] == 40
    spaces = {space["extractor"]: space for space in found["spaces"]}
    assert spaces.keys() == {"cifar-cnn7", "haar-packets"}
    for space in spaces.values():
        near, far = space["standings"]
        assert near["rank"] == 1
        assert near["ratio"] < 2 < far["ratio"]
    assert found["mean_ratio"][str(alike)] < found["mean_ratio"][str(coarse)]
    assert abs(found["spectral_slope"][str(alike)]) < abs(found["spectral_slope"][str(coarse)])
    shown = sfbench(*asked)
    assert "all spaces rank the sets alike" in shown.stdout
    assert "fd[cifar-cnn7]" in shown.stdout


def test_images_of_several_sizes_have_no_packets(sfbench: Command, tmp_path: Path) -> None:
    real, mixed = folder(tmp_path / "real", 12, 0), folder(tmp_path / "mixed", 6, 1)
    for index in range(6):
        size = (32, 32) if index < 3 else (16, 16)
        Image.new("RGB", size, (index * 40, 0, 0)).save(mixed / f"more{index}.png")
    cards = "pytorchfwd-1.0,spectral-slope,sfbench"
    asked = ("quality", "--images", str(mixed), "--reference", str(real), "--protocol", cards)
    done = sfbench(*asked, "--json")
    assert done.returncode == 0, done.stderr
    readings = {one["metric"]: one for one in json.loads(done.stdout)}
    assert readings["fwd[pytorchfwd-1.0]"]["value"] is None
    assert "--res" in readings["fwd[pytorchfwd-1.0]"]["reason"]
    assert readings["spectral_slope[spectral-slope]"]["value"] is None
    assert readings["fd[cifar-cnn7]"]["value"] is not None


def test_a_run_keeps_fwd_as_its_distance(sfbench: Command, tmp_path: Path) -> None:
    asked = (
        "run",
        "--model",
        "synthetic",
        "--res",
        "16",
        "--measure",
        "quality",
        "--samples",
        "64",
    )
    done = sfbench(*asked, "--extractor", "haar-packets", "--json")
    assert done.returncode == 0, done.stderr
    (record,) = json.loads(done.stdout)
    (reading,) = [one for one in record["readings"] if "extractor" in one["how"]]
    assert reading["metric"] == "fwd"
    assert reading["value"] > 0
    assert reading["how"]["influences"]
    assert len(list((tmp_path / "results" / "influences").glob("*.npz"))) == 1
