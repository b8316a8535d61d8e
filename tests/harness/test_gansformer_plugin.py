"""The GANsformer as a plugin: styles, maps of components, files of weights."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from reference_models.checkpoints import write_checkpoint
from reference_models.gansformer import Gansformer
from reference_models.gansformer_config import GansformerConfig
from sfbench.api import BuildRequest, LatentAttentive, StyleBased, UsageError, WeightsError
from sfbench_gansformer import OPTIONS
from sfbench_gansformer.builders import gansformer

Command = Callable[..., subprocess.CompletedProcess[str]]


def request(weights: Path | None = None, resolution: int = 32, **options: Any) -> BuildRequest:
    given = {option.name: option.default for option in OPTIONS} | {"preset": "nano"} | options
    return BuildRequest(resolution=resolution, options=given, weights=weights)


@pytest.mark.parametrize("attention", ["duplex", "simplex"])
def test_styles_make_the_same_images_and_maps_add_up_to_one(attention: str) -> None:
    made = gansformer(request(attention=attention))
    assert isinstance(made, StyleBased)
    assert isinstance(made, LatentAttentive)
    latents = made.draw_latents([0, 1])
    assert latents.z.shape == (2, 5, 16)
    with torch.inference_mode():
        images = made.synthesize(latents)
        styles = made.styles(latents)
        assert styles.shape == (2, 9, 80)
        assert len(made.style_resolutions) == 9
        assert made.mean_style().shape == (80,)
        torch.testing.assert_close(made.synthesize_styles(styles, latents), images)
        for layer in made.component_layers:
            maps = made.component_maps(latents, layer.name)
            assert maps.shape == (2, layer.heads, layer.keys, layer.resolution, layer.resolution)
            torch.testing.assert_close(maps.sum(dim=2), torch.ones_like(maps[:, :, 0]))


def test_files_say_their_sizes_and_others_are_refused(tmp_path: Path) -> None:
    made = gansformer(request(components=2))
    path = tmp_path / "g.safetensors"
    write_checkpoint(path, made.network, made.network.config)
    again = gansformer(request(path))
    assert again.network.config.components == 2
    latents = made.draw_latents([3])
    assert torch.equal(again.synthesize(latents), made.synthesize(latents))
    with pytest.raises(WeightsError, match="makes 32 px"):
        gansformer(request(path, resolution=64))
    torch.save(
        Gansformer(GansformerConfig(resolution=32, components=0, latent_dim=4)).state_dict(),
        tmp_path / "x.pt",
    )
    with pytest.raises(WeightsError, match=r"^[^\n]+$"):
        gansformer(request(tmp_path / "x.pt"))
    with pytest.raises(UsageError, match="components"):
        gansformer(request(components=0))


def test_inspection_shows_where_components_are_attended_to(
    sfbench: Command, tmp_path: Path
) -> None:
    done = sfbench("inspect", "--model", "gansformer", "--option", "preset=nano", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (tmp_path / found["components"]["file"]).is_file()
    assert found["mixing"]["file"] is not None
    other = sfbench(
        "inspect", "--model", "biggan", "--option", "channels=8", "--res", "64", "--json"
    )
    assert other.returncode == 0, other.stderr
    found = json.loads(other.stdout)
    assert (tmp_path / found["attention"]["file"]).is_file()
    assert found["components"]["file"] is None
