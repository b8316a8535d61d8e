"""Reconstructions beside their originals: by the packages' own values, paired by name."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from scipy import ndimage
from torch import Tensor
from torchvision import transforms

from sfbench.quality.cropping import cropped
from sfbench.quality.fidelity import (
    SsimWay,
    multi_scale_ssim,
    pooled_psnr,
    psnr,
    squared_error,
    ssim,
)
from sfbench.quality.reconstruction import between, read_cards

Command = Callable[..., subprocess.CompletedProcess[str]]


def pair(height: int, width: int) -> tuple[Tensor, Tensor]:
    """Return three images and noisy versions of them."""
    source = torch.Generator().manual_seed(0)
    first = torch.rand(3, 3, height, width, generator=source, dtype=torch.double)
    noise = torch.randn(first.shape, generator=source, dtype=torch.double)
    return first, (first + 0.1 * noise).clamp(0, 1)


@pytest.mark.fast
@pytest.mark.parametrize("size", [(192, 200), (181, 197)])
def test_values_are_those_of_torchmetrics(size: tuple[int, int]) -> None:
    from torchmetrics.functional import image as theirs

    first, second = pair(*size)
    way = read_cards()["torchmetrics-1.9"].ssim
    expected = theirs.structural_similarity_index_measure(second, first, data_range=1.0)
    assert float(ssim(first, second, way).mean()) == pytest.approx(float(expected), rel=1e-6)
    expected = theirs.multiscale_structural_similarity_index_measure(second, first, data_range=1.0)
    found = multi_scale_ssim(first, second, way).mean()
    assert float(found) == pytest.approx(float(expected), rel=1e-6)
    whole = theirs.peak_signal_noise_ratio(second, first, data_range=1.0)
    assert pooled_psnr(squared_error(first, second)) == pytest.approx(float(whole), rel=1e-6)
    each = theirs.peak_signal_noise_ratio(
        second, first, data_range=1.0, dim=(1, 2, 3), reduction="none"
    )
    assert torch.allclose(psnr(first, second), each.double(), rtol=1e-6)


@pytest.mark.fast
def test_a_uniform_window_is_that_of_scikit_image() -> None:
    """Its defaults, written out: a window of 7, covariances of N - 1, 3 pixels of border cut."""
    first, second = pair(40, 52)
    x, y = first[0, 0].numpy(), second[0, 0].numpy()

    def mean(values: np.ndarray) -> np.ndarray:
        return np.asarray(ndimage.uniform_filter(values, 7))

    factor = 49 / 48
    var_x, var_y = factor * (mean(x * x) - mean(x) ** 2), factor * (mean(y * y) - mean(y) ** 2)
    both = factor * (mean(x * y) - mean(x) * mean(y))
    one, two = 0.01**2, 0.03**2
    whole = (2 * mean(x) * mean(y) + one) * (2 * both + two)
    whole /= (mean(x) ** 2 + mean(y) ** 2 + one) * (var_x + var_y + two)
    found = ssim(first[:1, :1], second[:1, :1], read_cards()["skimage-0.26"].ssim)
    assert float(found) == pytest.approx(float(whole[3:-3, 3:-3].mean()), rel=1e-9)


@pytest.mark.fast
def test_equal_images_are_alike_and_small_ones_have_no_value() -> None:
    first, _ = pair(64, 64)
    assert torch.allclose(ssim(first, first, SsimWay()), torch.ones(3, dtype=torch.double))
    assert torch.isinf(psnr(first, first)).all()
    assert psnr(first, first, floor=1e-8)[0] == pytest.approx(80)
    with pytest.raises(ValueError, match="the window needs 11"):
        multi_scale_ssim(first, first, SsimWay())


@pytest.mark.fast
def test_steps_lead_from_one_card_to_the_other() -> None:
    cards = read_cards()
    steps = list(between(cards["sfbench"], cards["llamagen"]))
    assert [name for name, *_ in steps] == ["crop", "window", "range", "sample"]
    assert steps[-1][3].ssim == cards["llamagen"].ssim
    assert list(between(cards["piq-0.8"], cards["piq-0.8"])) == []


def folders(tmp_path: Path, count: int = 14) -> list[str]:
    """Make originals and blurred reconstructions as JPEG; one of each has no partner."""
    source = np.random.default_rng(0)
    for name in ("originals", "made"):
        (tmp_path / name).mkdir()
    for number in range(count):
        small = Image.fromarray(source.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        image = small.resize((48, 48), Image.Resampling.BICUBIC)
        image.save(tmp_path / "originals" / f"{number:02d}.png")
        if number:
            blurred = image.filter(ImageFilter.GaussianBlur(2))
            blurred.save(tmp_path / "made" / f"{number:02d}.jpg", quality=90)
    small.save(tmp_path / "made" / "more.png")
    return [str(tmp_path / name) for name in ("originals", "made")]


def sized(tmp_path: Path) -> Path:
    """Make reconstructions in a folder of a zip's kind, all of another size than the originals."""
    folder = tmp_path / "sized" / "inner"
    folder.mkdir(parents=True)
    for number in range(3):
        Image.new("RGB", (30, 30)).save(folder / f"{number:02d}.png")
    return tmp_path / "sized"


def test_reconstructions_are_judged_pair_by_pair(sfbench: Command, tmp_path: Path) -> None:
    originals, made = folders(tmp_path)
    asked = ["reconstruct", "--originals", originals, "--reconstructions", made]
    done = sfbench(*asked, "--card", "all", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["pairs"], found["alone"], found["left_out"]) == (13, [1, 1], [])
    readings = {reading["metric"]: reading for reading in found["readings"]}
    assert readings["psnr"]["low"] < readings["psnr"]["value"] < readings["psnr"]["high"]
    assert readings["psnr"]["value"] > readings["psnr[torchmetrics-1.9]"]["value"]
    assert readings["ssim[llamagen]"]["value"] > readings["ssim[skimage-0.26]"]["value"]
    assert readings["ms_ssim"]["reason"].startswith("13 pairs smaller than")
    assert "no weights at" in readings["lpips"]["reason"]
    assert readings["rfd[cifar-cnn7]"]["value"] > 0
    assert "1 original without reconstruction" in done.stderr
    table = sfbench(*asked)
    assert table.stdout.startswith("13 pairs of")
    steps = sfbench(*asked, "--explain", "sfbench", "llamagen", "--json")
    factors = [step["factor"] for step in json.loads(steps.stdout) if step["metric"] == "ssim"]
    assert factors == ["start", "window", "range", "sample"]


def test_a_pair_that_cannot_be_compared_is_named_and_left_out(
    sfbench: Command, tmp_path: Path
) -> None:
    originals, made = folders(tmp_path, 5)
    Image.new("RGB", (20, 48)).save(Path(made) / "01.jpg")
    (Path(made) / "02.jpg").write_bytes(b"nothing")
    asked = ["reconstruct", "--originals", originals, "--reconstructions", made]
    done = sfbench(*asked, "--json")
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert len(found["left_out"]) == 2
    assert "01.jpg: 20x48 px, its original has 48x48; give --res" in done.stderr
    same = sfbench("reconstruct", "--originals", made, "--reconstructions", made)
    assert same.returncode == 2
    other = tmp_path / "others"
    other.mkdir()
    Image.new("RGB", (8, 8)).save(other / "z.png")
    none = sfbench("reconstruct", "--originals", originals, "--reconstructions", str(other))
    assert none.returncode == 2
    assert "no two images have the same name: 00 among the originals, z" in none.stderr
    none_fits = sfbench(*asked[:3], "--reconstructions", str(sized(tmp_path)), "--json")
    assert none_fits.returncode == 1
    reasons = [one["reason"] for one in json.loads(none_fits.stdout)["readings"]]
    assert any("no pair could be compared: " in str(reason) for reason in reasons)
    nameless = sfbench(*asked[:3], "--reconstructions", "shapes", "--res", "16")
    assert nameless.returncode == 2
    assert "have no names to pair them by" in nameless.stderr
    wrong = sfbench(*asked, "--card", "magic")
    assert "--card magic: expected all, or any of sfbench" in wrong.stderr


def center_crop_adm(image: Image.Image, side: int) -> Image.Image:
    """Return what guided-diffusion's description says, written out with other means."""
    width, height = image.size
    while min(width, height) >= 2 * side:
        width, height = width // 2, height // 2
        image = image.resize((width, height), Image.Resampling.BOX)
    scale = side / min(width, height)
    image = image.resize((round(width * scale), round(height * scale)), Image.Resampling.BICUBIC)
    pixels = np.asarray(image)
    top, left = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
    return Image.fromarray(pixels[top : top + side, left : left + side])


@pytest.mark.parametrize("size", [(70, 50), (33, 96), (32, 32), (210, 130)])
def test_crops_are_those_of_the_packages(size: tuple[int, int]) -> None:
    source = np.random.RandomState(0)
    image = Image.fromarray(source.randint(0, 256, (size[1], size[0], 3)).astype(np.uint8))
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    by_adm = np.asarray(center_crop_adm(image, 32)).transpose(2, 0, 1)
    assert np.array_equal(cropped(pixels, "adm", 32).numpy(), by_adm)
    peer = transforms.Compose([transforms.Resize(32), transforms.CenterCrop(32)])
    found = cropped(pixels, "torchvision-bilinear", 32)
    assert np.array_equal(found.numpy(), np.asarray(peer(image)).transpose(2, 0, 1))


def test_originals_of_another_size_are_cropped_by_the_card(
    sfbench: Command, tmp_path: Path
) -> None:
    source = np.random.RandomState(0)
    for name in ("originals", "made"):
        (tmp_path / name).mkdir()
    for index in range(6):
        small = Image.fromarray(source.randint(0, 256, (10, 14, 3)).astype(np.uint8))
        image = small.resize((112, 80), Image.Resampling.BICUBIC)
        image.save(tmp_path / "originals" / f"{index}.png")
        center_crop_adm(image, 64).save(tmp_path / "made" / f"{index}.png")
    both = ("--originals", str(tmp_path / "originals"), "--reconstructions", str(tmp_path / "made"))
    cards = ("--card", "crop-adm,crop-torchvision", "--json")
    done = sfbench("reconstruct", *both, *cards)
    assert done.returncode == 0, done.stderr
    found = {one["metric"]: one for one in json.loads(done.stdout)["readings"]}
    assert "infinite" in found["psnr[crop-adm]"]["reason"]
    assert found["ssim[crop-adm]"]["value"] == pytest.approx(1)
    assert found["ssim[crop-torchvision]"]["value"] < 0.9999
    assert found["rfd[cifar-cnn7, crop adm]"]["value"] == pytest.approx(0, abs=1e-6)
    assert found["rfd[cifar-cnn7, crop torchvision-bilinear]"]["value"] > 1e-6
    steps = sfbench("reconstruct", *both, "--explain", "crop-torchvision", "crop-adm")
    assert "crop" in steps.stdout
    none = sfbench("reconstruct", *both)
    assert none.returncode == 1
    assert "give --res" in none.stderr
