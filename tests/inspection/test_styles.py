"""Styles of every built-in style-based model: truncation, mixing and interpolation mean what they say."""

from __future__ import annotations

import pytest
import torch

from sfbench.api import Attentive, ImageGenerator, StyleBased
from sfbench.catalogue.registry import find_generator, load_plugin, plugin_sources
from sfbench.cli import defaults
from sfbench.generators.building import build
from sfbench.inspection.styles import GROUPS, layer_groups
from sfbench.run.grid import make_plan
from sfbench.values.case import Request

pytestmark = pytest.mark.fast
MODELS = {
    "styleformer": (32, ("preset=nano",)),
    "styleformer-linformer": (32, ("preset=nano",)),
    "styleformer-c": (32, ("widths=64,32", "layers=1,1", "channel_base=512")),
    "stylegan2": (32, ("preset=nano",)),
}


def built(model: str, *more: str) -> ImageGenerator:
    side, options = MODELS[model]
    request = Request(
        model=model, res=str(side), option=(*options, *more), measure="memory", device="cpu"
    )
    catalogue = defaults.catalogue([], [])
    plan = make_plan(
        [request], catalogue, torch_home=defaults.torch_home(), trials=1, timeout_seconds=1
    )
    plugins = [load_plugin(source) for source in plugin_sources([], [])]
    _, spec = find_generator(plugins, model)
    return build(spec, plan.cases[0], "cpu")


def styled(generator: ImageGenerator) -> StyleBased:
    assert isinstance(generator, StyleBased)
    return generator


@pytest.mark.parametrize("model", MODELS)
@torch.inference_mode()
def test_the_styles_of_a_seed_make_its_image(model: str) -> None:
    generator = built(model)
    latents = generator.draw_latents([3, 4])
    again = styled(generator).synthesize_styles(styled(generator).styles(latents), latents)
    assert torch.equal(again, generator.synthesize(latents))


@pytest.mark.parametrize("model", MODELS)
@torch.inference_mode()
def test_the_used_styles_of_b_make_the_image_of_b(model: str) -> None:
    """No used vector is missing from the groups, and none beyond them enters anything."""
    generator = built(model, "noise=none")
    styles = styled(generator)
    first, second = generator.draw_latents([0]), generator.draw_latents([1])
    w = styles.styles(first)
    for places in layer_groups(styles.style_resolutions).values():
        w[:, places] = styles.styles(second)[:, places]
    assert torch.equal(styles.synthesize_styles(w, first), generator.synthesize(second))


@pytest.mark.parametrize("model", MODELS)
@torch.inference_mode()
def test_every_used_style_changes_the_image(model: str) -> None:
    generator = built(model, "noise=none")
    styles = styled(generator)
    latents, other = generator.draw_latents([0]), generator.draw_latents([1])
    plain = generator.synthesize(latents)
    for place in range(len(styles.style_resolutions)):
        w = styles.styles(latents).clone()
        w[:, place] = styles.styles(other)[:, place]
        assert not torch.equal(styles.synthesize_styles(w, latents), plain)


@torch.inference_mode()
def test_truncation_to_nothing_is_one_image_for_all_seeds() -> None:
    generator = built("styleformer", "noise=none")
    styles = styled(generator)
    mean = styles.mean_style().expand(1, styles.styles(generator.draw_latents([0])).shape[1], -1)
    images = [styles.synthesize_styles(mean, generator.draw_latents([seed])) for seed in (0, 1)]
    assert torch.equal(*images)
    truncated = built("styleformer", "noise=none", "truncation_psi=0.5")
    latents = generator.draw_latents([0])
    half = mean + 0.5 * (styles.styles(latents) - mean)
    by_hand = styles.synthesize_styles(half, latents)
    assert torch.allclose(by_hand, truncated.synthesize(latents), atol=1e-5)


@pytest.mark.parametrize(
    ("sides", "expected"),
    [
        ([8, 16, 16, 32, 32], {"coarse": [0], "middle": [1, 2], "fine": [3, 4]}),
        ([4, 8, 8, 16, 16, 32, 32, 32], {"coarse": [0, 1, 2], "middle": [3, 4], "fine": [5, 6, 7]}),
        ([8, 16, 16], {"coarse": [0], "fine": [1, 2]}),
        ([8, 8], {"coarse": [0, 1]}),
    ],
)
def test_groups_hold_whole_resolutions_and_every_layer_once(
    sides: list[int], expected: dict[str, list[int]]
) -> None:
    found = layer_groups(sides)
    assert sorted(place for places in found.values() for place in places) == list(range(len(sides)))
    assert found == expected
    assert list(found) == [name for name in GROUPS if name in found]


def test_only_styleformers_show_attention() -> None:
    found = {model: isinstance(built(model), Attentive) for model in MODELS}
    assert found == {
        "styleformer": True, "styleformer-linformer": True, "styleformer-c": True, "stylegan2": False,
    }  # fmt: skip
