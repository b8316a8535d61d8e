"""LPIPS and perceptual path length beside the packages that define them, on the same random weights."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sfbench.api.errors import UnsupportedError, UsageError, WeightsError
from sfbench.api.latents import Latents, LatentSource
from sfbench.api.spec import ExtractorRequest
from sfbench.quality.lpips import KEY, Lpips, load_lpips
from sfbench.quality.path_length import (
    path_length,
    read_card,
    read_cards,
    seen,
    slerp,
    summarized,
)
from sfbench.quality.published import LPIPS_FILE
from sfbench.quality.resizing import resized
from sfbench.quality.vgg16 import Vgg16Extractor
from sfbench.quality.weights import find_lpips

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def vgg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return VGG16 with random weights, as torchvision stores it."""
    from torchvision import models

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("vgg") / "vgg16.pth"
    torch.save(models.vgg16(weights=None).state_dict(), path)
    return path


@pytest.fixture(scope="session")
def linear() -> Path:
    """Return the linear layers that the package lpips carries."""
    pytest.importorskip("lpips")
    path, digest = find_lpips(LPIPS_FILE, "auto", Path("nowhere"))
    assert digest == LPIPS_FILE.sha256
    return path


@pytest.fixture(scope="session")
def distance(vgg: Path, linear: Path) -> Lpips:
    return load_lpips(vgg, linear)


@pytest.mark.parametrize("side", [32, 97])
def test_lpips_is_that_of_the_package(side: int, distance: Lpips, vgg: Path) -> None:
    import lpips

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it asks torchvision as one did before 0.13
        peer: Any = lpips.LPIPS(net="vgg", pnet_rand=True, verbose=False)
    tensors = torch.load(vgg, weights_only=True)
    state = peer.net.state_dict()
    for name in state:
        place = re.match(r"slice\d\.(\d+)\.(weight|bias)", name)
        assert place is not None
        state[name] = tensors[f"features.{place[1]}.{place[2]}"]
    peer.net.load_state_dict(state)
    source = torch.Generator().manual_seed(1)
    first, second = (torch.rand(3, 3, side, side, generator=source) * 2 - 1 for _ in range(2))
    with torch.no_grad():
        theirs = peer(first, second).flatten()
        ours = distance(first, second)
    assert ((ours - theirs) / theirs).abs().max() < 1e-5
    assert distance(first, first).abs().max() == 0


def test_vgg16_is_that_of_torch_fidelity(vgg: Path) -> None:
    from torch_fidelity.feature_extractor_vgg16 import FeatureExtractorVGG16

    images = torch.randint(0, 256, (2, 3, 40, 32), dtype=torch.uint8)
    peer = FeatureExtractorVGG16("vgg16", ["fc2_relu"], feature_extractor_weights_path=str(vgg))
    request = ExtractorRequest(weights=vgg, sha256="ab" * 32)
    ours = Vgg16Extractor(request, standard=False)
    assert ours.name == "vgg16-abababab"
    with torch.no_grad():
        theirs = peer(images)[0]
    found = ours(resized(images, "tf1-bilinear", 224)).pooled
    assert (found - theirs).abs().max() < 1e-5 * theirs.abs().max()


def test_files_that_hold_something_else_are_refused(vgg: Path, tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(3)}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="not VGG16 of torchvision"):
        load_lpips(tmp_path / "w.pth", tmp_path / "w.pth")
    torch.save({KEY.format(0): torch.zeros(1, 3, 1, 1)}, tmp_path / "l.pth")
    with pytest.raises(WeightsError, match="not LPIPS of VGG16"):
        load_lpips(vgg, tmp_path / "l.pth")


class Toy:
    """A smooth generator of z, as the harness and as torch-fidelity take one."""

    resolution = 32

    def __init__(self, classes: int = 0) -> None:
        source = torch.Generator().manual_seed(5)
        self.weights = torch.randn(8, 3 * 32 * 32, generator=source)
        self.source = LatentSource(latent_shape=(8,), classes=classes)

    def draw_latents(self, seeds: Sequence[int]) -> Latents:
        return self.source.draw(seeds)

    def synthesize(self, latents: Latents) -> Tensor:
        return torch.tanh(latents.z @ self.weights / 3).view(-1, 3, 32, 32)


class Styled(Toy):
    """The same with styles: each z is its own."""

    style_resolutions = (16, 32)

    def styles(self, latents: Latents) -> Tensor:
        return latents.z[:, None].repeat(1, 2, 1)

    def mean_style(self) -> Tensor:
        return torch.zeros(8)

    def synthesize_styles(self, styles: Tensor, latents: Latents) -> Tensor:
        return self.synthesize(dataclasses.replace(latents, z=styles.mean(dim=1)))


def quiet(what: str, done: int, total: int) -> None:
    """Show nothing."""


class Module(nn.Module):
    """The toy as torch-fidelity's module: in levels of 0 to 255."""

    def forward(self, z: Tensor) -> Tensor:
        return 127.5 * (Toy().synthesize(Latents(z=z, c=None, noise=None)) + 1)


def test_the_path_length_is_that_of_torch_fidelity(
    distance: Lpips, vgg: Path, linear: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch_fidelity
    from torch_fidelity import sample_similarity_lpips as similarity
    from torchvision import models

    layers = torch.load(linear, weights_only=True, map_location="cpu")
    plain = {name: tensor.clone() for name, tensor in layers.items()}
    network = models.vgg16(weights=None)
    network.load_state_dict(torch.load(vgg, weights_only=True))
    monkeypatch.setattr(similarity, "load_state_dict_from_url", lambda *_, **__: plain)
    monkeypatch.setattr(similarity, "torchvision_load_pretrained_vgg16", lambda: network)
    peer = torch_fidelity.calculate_metrics(
        input1=torch_fidelity.GenerativeModelModuleWrapper(Module(), 8, "normal", 0),
        input1_model_num_samples=40,
        ppl=True,
        ppl_epsilon=1e-2,
        ppl_sample_similarity_dtype="float32",
        ppl_discard_percentile_lower=None,
        ppl_discard_percentile_higher=None,
        batch_size=16,
        cuda=False,
        verbose=False,
    )
    card = dataclasses.replace(
        read_card("torch-fidelity-0.4-ppl"), epsilon=1e-2, quantization="none", percentiles=None
    )
    found = path_length(Toy(), card, distance, paths=40, seed=0, batch=16, progress=quiet)
    assert found.estimate.value == pytest.approx(peer["perceptual_path_length_mean"], rel=1e-5)
    assert found.deviation == pytest.approx(peer["perceptual_path_length_std"], rel=1e-5)


@pytest.mark.fast
def test_values_between_two_percentiles_count() -> None:
    values = np.arange(1000.0)
    found = summarized(values, (1.0, 99.0))
    low, high = np.percentile(values, 1, method="lower"), np.percentile(values, 99, method="higher")
    assert found.kept == int(high - low + 1)
    assert found.estimate.value == pytest.approx((low + high) / 2)
    assert summarized(values, None).kept == 1000


@pytest.mark.fast
def test_a_sphere_is_walked_at_even_speed() -> None:
    first, second = torch.randn(2, 5, 8, dtype=torch.double).unbind()
    half = slerp(first, second, torch.full((5,), 0.5, dtype=torch.double))
    a, b = (torch.nn.functional.normalize(one, dim=1) for one in (first, second))
    assert torch.allclose(half, torch.nn.functional.normalize(a + b, dim=1))
    assert torch.allclose(slerp(first, second, torch.zeros(5, dtype=torch.double)), a)


@pytest.mark.fast
def test_cards_show_images_as_their_package_does() -> None:
    image = torch.arange(64.0 * 64).view(1, 1, 64, 64) / (64 * 64)
    zfull = seen(image, read_card("stylegan2-ada-ppl-zfull"))
    assert torch.equal(zfull, image[:, :, 24:56, 16:48].expand(1, 3, -1, -1))
    large = torch.randn(1, 3, 1024, 1024)
    boxed = seen(large, read_card("stylegan2-ada-ppl2-wend"))
    assert boxed.shape == (1, 3, 256, 256)
    assert boxed[0, 0, 0, 0] == pytest.approx(float(large[0, 0, :4, :4].mean()), abs=1e-6)
    small = seen(image, read_card("torch-fidelity-0.4-ppl"))
    assert small.shape == (1, 3, 64, 64)
    levels = (small + 1) * 127.5
    assert (levels - levels.round()).abs().max() < 1e-3
    with pytest.raises(UsageError, match="--card magic: expected stylegan2-ada-ppl2-wend"):
        read_card("magic")


def test_paths_belong_to_seeds_and_need_what_their_card_needs(distance: Lpips) -> None:
    card = read_card("stylegan2-ada-ppl-wfull")
    several = [
        path_length(Styled(), card, distance, paths=12, seed=3, batch=batch, progress=quiet)
        for batch in (4, 12)
    ]
    values = [one.estimate.value for one in several]
    assert values[0] == pytest.approx(values[1], rel=1e-3)  # steps of 1e-4 in float32
    with pytest.raises(UnsupportedError, match="has no styles"):
        path_length(Toy(), card, distance, paths=4, seed=0, batch=4, progress=quiet)
    for name in read_cards():
        found = path_length(
            Styled(4), read_card(name), distance, paths=4, seed=0, batch=4, progress=quiet
        )
        assert found.estimate.value > 0


def test_the_path_length_of_a_model_has_an_interval(sfbench: Command, vgg: Path) -> None:
    asked = ["path-length", "--model", "stylegan2", "--option", "preset=nano", "--res", "32"]
    done = sfbench(*asked, "--paths", "12", "--vgg-weights", str(vgg), "--json")
    assert done.returncode == 0, done.stderr
    (reading,) = json.loads(done.stdout)
    assert reading["metric"].startswith("path_length[vgg16-")
    assert reading["low"] < reading["value"] < reading["high"]
    none = sfbench(*asked, "--paths", "12", TORCH_HOME="nowhere")
    assert none.returncode == 2
    assert "vgg16: no weights at" in none.stderr
    assert "--vgg-weights download" in none.stderr
    few = sfbench(*asked, "--paths", "1", "--vgg-weights", str(vgg))
    assert "--paths 1: expected 2 or more" in few.stderr
