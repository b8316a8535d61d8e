"""BigGAN as a plugin: truncation, statistics of batch norm, files of weights."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from reference_models.biggan import BigGAN
from reference_models.biggan_config import BigGANConfig
from sfbench.api import BuildRequest, LatentSource, UsageError, WeightsError
from sfbench_biggan import RESOLUTIONS, model_options
from sfbench_biggan.builders import biggan, wanted

Command = Callable[..., subprocess.CompletedProcess[str]]


def request(*, deep: bool = False, weights: Path | None = None, **options: Any) -> BuildRequest:
    given = {option.name: option.default for option in model_options(deep=deep)} | options
    return BuildRequest(resolution=32, options=given, weights=weights)


@pytest.mark.fast
def test_numbers_beyond_the_truncation_are_drawn_again_and_then_scaled() -> None:
    plain = LatentSource(latent_shape=(400,), classes=10)
    cut = dataclasses.replace(plain, truncation=0.5, scale=0.3)
    first, second = plain.draw([3, 4]), cut.draw([3, 4])
    assert second.z.abs().max() <= 0.15
    kept = first.z.abs() <= 0.5
    torch.testing.assert_close(second.z[kept], first.z[kept] * 0.3)
    # The numbers drawn anew are spread as the others within the limit are.
    assert second.z[~kept].std() / second.z[kept].std() == pytest.approx(1, abs=0.15)
    assert torch.equal(cut.draw([4]).z, second.z[1:])
    assert "drawn again" in cut.described()["latents"]
    with pytest.raises(UsageError, match="truncation"):
        dataclasses.replace(plain, truncation=0.0)


def test_standing_statistics_are_asked_for_and_change_the_images() -> None:
    running = biggan(request(channels=8), deep=False)
    standing = biggan(
        request(channels=8, statistics="standing", standing_batches=3, standing_batch=8), deep=False
    )
    assert running.architecture is not None
    assert running.architecture["statistics"] == "running"
    assert standing.architecture is not None
    assert standing.architecture["standing_batches"] == 3
    both = [one.synthesize(one.draw_latents([0, 1])) for one in (running, standing)]
    assert (both[0] - both[1]).abs().max() > 0.01
    alone = standing.synthesize(standing.draw_latents([1]))
    torch.testing.assert_close(alone, both[1][1:], rtol=1e-4, atol=1e-5)


def test_files_say_their_sizes_and_others_are_refused(tmp_path: Path) -> None:
    config = BigGANConfig(
        resolution=32, channels=6, z_dim=24, classes=4, shared_dim=10, attention=(16,)
    )
    network = BigGAN(config)
    network.reset_parameters(torch.Generator().manual_seed(5))
    path = tmp_path / "G_ema.pth"
    torch.save(network.state_dict(), path)
    made = biggan(request(weights=path), deep=False)
    latents = made.draw_latents([0, 1])
    assert latents.z.shape == (2, 24)
    with torch.no_grad():
        expected = network.eval()(latents.z, latents.c)
    torch.testing.assert_close(made.synthesize(latents), expected, rtol=1e-5, atol=1e-5)
    eps = biggan(request(weights=path, norm_eps=1e-2), deep=False)
    assert (eps.synthesize(latents) - expected).abs().max() > 1e-4
    with pytest.raises(WeightsError, match="holds biggan; measure"):
        biggan(request(deep=True, weights=path), deep=True)
    state = network.state_dict()
    state["linear.weight"] = state["linear.weight"][:, :5]
    torch.save(state, tmp_path / "bad.pth")
    with pytest.raises(WeightsError, match=r"^[^\n]+$"):
        biggan(request(weights=tmp_path / "bad.pth"), deep=False)
    with pytest.raises(UsageError, match="256 px"):
        biggan(request(preset="imagenet-256"), deep=False)


def test_weights_are_converted_and_recognized(sfbench: Command, tmp_path: Path) -> None:
    config = BigGANConfig(
        resolution=32, channels=4, z_dim=24, classes=3, shared_dim=8, attention=(), deep=True
    )
    network = BigGAN(config)
    network.reset_parameters(torch.Generator().manual_seed(5))
    torch.save(network.state_dict(), tmp_path / "G.pth")
    done = sfbench("convert", "G.pth", "G.safetensors")
    assert done.returncode == 0, done.stderr
    asked = ("--model", "biggan-deep", "--res", "32", "--measure", "memory", "--json")
    records = [
        json.loads(sfbench("run", *asked, "--weights", name).stdout)[0]
        for name in ("G.pth", "G.safetensors")
    ]
    for record in records:
        assert record["status"] == "ok", record["reason"]
        assert record["provenance"]["architecture"]["z_dim"] == 24


@pytest.mark.fast
@pytest.mark.parametrize("deep", [False, True], ids=["biggan", "biggan-deep"])
def test_sizes_by_resolution_are_those_that_were_published_or_continue_them(*, deep: bool) -> None:
    for resolution in RESOLUTIONS[: -1 if deep else None]:
        asked = dataclasses.replace(request(deep=deep), resolution=resolution)
        config = wanted(asked, deep=deep)
        assert config.resolution == resolution
        assert config.channels >= 64
        assert all(side <= resolution for side in config.attention)


@pytest.mark.fast
def test_epsilons_that_no_shape_says_are_those_of_the_preset(tmp_path: Path) -> None:
    path = tmp_path / "G_ema.pth"
    torch.save(biggan(request(preset="nano"), deep=False).module.state_dict(), path)
    options = {"preset": "cifar10", "statistics": "running"}
    for more, expected in (({}, 1e-8), ({"spectral_eps": 1e-3}, 1e-3)):
        found = biggan(request(weights=path, **options, **more), deep=False)
        assert found.architecture is not None
        assert found.architecture["spectral_eps"] == expected
