from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from reference_models.attention import LINFORMER_TOKENS
from reference_models.equalized import initialize
from reference_models.presets import PRESETS, StyleformerPreset, by_resolution, preset
from reference_models.styleformer import Styleformer
from reference_models.styleformer_config import StyleformerConfig
from reference_models.styleformer_layer import FIRST_LINFORMER_RESOLUTION

SMALL = StyleformerConfig(widths=(32, 16, 8), layers=(1, 2, 1), z_dim=16, w_dim=16, head_width=8)


def made(config: StyleformerConfig, seed: int = 0) -> Styleformer:
    model = Styleformer(config)
    initialize(model, torch.Generator().manual_seed(seed))
    return model.eval()


def config_of(sizes: StyleformerPreset, *, linformer: bool | None = None) -> StyleformerConfig:
    return StyleformerConfig(
        widths=sizes.widths,
        layers=sizes.layers,
        start_resolution=sizes.start_resolution,
        linformer=sizes.linformer if linformer is None else linformer,
    )


def latents(config: StyleformerConfig, count: int = 2) -> torch.Tensor:
    return torch.randn(count, config.z_dim, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("cifar10-large", 18_369_040),
        ("cifar10-medium", 7_638_416),
        ("readme-example", 1_334_142),
        ("program-default", 1_438_064),
        ("celeba-linformer", 8_567_505),
        ("lsun-church-linformer", 13_929_621),
    ],
)
def test_a_published_architecture_has_the_published_number_of_parameters(
    name: str, parameters: int
) -> None:
    with torch.device("meta"):
        model = Styleformer(config_of(preset(name)))
    assert sum(p.numel() for p in model.parameters()) == parameters


def published_operations(config: StyleformerConfig) -> int:
    """Projections, attention, Linformer, affine, color: two operations a multiply-add."""
    total = 0
    for index, resolution in enumerate(config.resolutions):
        tokens = resolution**2
        width = config.widths[index]
        following = config.widths[min(index + 1, len(config.widths) - 1)]
        linformer = config.linformer and resolution >= FIRST_LINFORMER_RESOLUTION
        keys = LINFORMER_TOKENS if linformer else tokens
        for layer in range(config.layers[index]):
            out = following if layer == config.layers[index] - 1 else width
            total += 2 * tokens * width * (3 * width + 2 * out)
            total += 4 * tokens * keys * width
            total += 4 * LINFORMER_TOKENS * tokens * width if linformer else 0
            total += 4 * config.w_dim * width
        total += 2 * tokens * 3 * following
    return total


def official_extras(config: StyleformerConfig) -> int:
    """What the published totals count besides: the mapping network and the 4x4 filters."""
    total = 2 * config.z_dim * config.w_dim + 2 * (config.mapping_layers - 1) * config.w_dim**2
    for index, resolution in enumerate(config.resolutions[1:]):
        following = config.widths[min(index + 1, len(config.widths) - 1)]
        total += 2 * 16 * resolution**2 * (following + 3)
    return total


def own_operations(config: StyleformerConfig) -> int:
    """Demodulation factors (a matrix product here), color styles, and the mapping network."""
    total = 2 * config.z_dim * config.w_dim + 2 * (config.mapping_layers - 1) * config.w_dim**2
    for index, width in enumerate(config.widths):
        following = config.widths[min(index + 1, len(config.widths) - 1)]
        for layer in range(config.layers[index]):
            out = following if layer == config.layers[index] - 1 else width
            total += 2 * width * (3 * width + 2 * out)
        total += 2 * following * 3 + 2 * config.w_dim * following
    return total


def saved_operations(config: StyleformerConfig) -> int:
    """What Linformer saves by E (h K^T) = (E h) K^T, and what (U V)^T in place of U^T costs it."""
    total = 0
    for index, resolution in enumerate(config.resolutions):
        if not config.linformer or resolution < FIRST_LINFORMER_RESOLUTION:
            continue
        tokens, width = resolution**2, config.widths[index]
        following = config.widths[min(index + 1, len(config.widths) - 1)]
        for layer in range(config.layers[index]):
            out = following if layer == config.layers[index] - 1 else width
            total += 2 * 2 * (tokens - LINFORMER_TOKENS) * width**2
            total += 2 * LINFORMER_TOKENS * tokens * width - 2 * out * width**2
    return total


@pytest.mark.parametrize(
    ("name", "linformer", "published_gflop"),
    [
        ("readme-example", False, 0.228),
        ("program-default", False, 0.325),
        ("cifar10-medium", False, 2.082),
        ("cifar10-large", False, 17.50),
        ("celeba-linformer", True, 1.807),
        ("celeba-linformer", False, 5.699),
        ("lsun-church-linformer", True, 4.667),
        ("lsun-church-linformer", False, 75.13),
        ("stl10-medium", False, None),
    ],
)
def test_operations_counted_on_the_meta_device_equal_the_hand_formulas(
    name: str, linformer: bool, published_gflop: float | None
) -> None:
    config = config_of(preset(name), linformer=linformer)
    with torch.device("meta"):
        model = Styleformer(config)
        z = torch.empty(1, config.z_dim)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval().requires_grad_(requires_grad=False)(z)
    ours = published_operations(config) + own_operations(config) - saved_operations(config)
    assert counter.get_total_flops() == ours
    if published_gflop is not None:
        total = published_operations(config) + official_extras(config)
        assert total / 1e9 == pytest.approx(published_gflop, rel=2e-3)


@pytest.mark.parametrize("resolution", [8, 16, 32, 48, 64, 96, 128, 256, 512, 1024])
@pytest.mark.parametrize("linformer", [False, True])
def test_every_resolution_can_be_built(resolution: int, linformer: bool) -> None:
    with torch.device("meta"):
        config = config_of(by_resolution(resolution, linformer=linformer), linformer=linformer)
        image = Styleformer(config).eval()(torch.empty(1, config.z_dim))
    assert image.shape == (1, 3, resolution, resolution)


@pytest.mark.parametrize("resolution", [0, 4, 20, 36, 100])
def test_a_resolution_that_halving_does_not_bring_to_8_or_12_is_refused(resolution: int) -> None:
    with pytest.raises(ValueError, match="8 or 12 times a power of two"):
        by_resolution(resolution, linformer=False)


def test_every_preset_says_its_evidence() -> None:
    assert all(item.source and item.evidence for item in PRESETS)
    assert len({item.name for item in PRESETS}) == len(PRESETS)


@pytest.mark.parametrize(
    "change",
    [
        {"style_injection": "shared"},
        {"pre_norm": "before-modulation"},
        {"pre_norm": "none"},
        {"feed_forward": True},
        {"residual": "identity"},
        {"residual": "none"},
        {"minimum_heads": 4},
        {"position_encoding": "sinusoidal"},
        {"position_encoding": "none"},
        {"linformer": True},
    ],
    ids=str,
)
def test_every_ablation_switch_changes_the_image_and_keeps_its_shape(
    change: dict[str, object],
) -> None:
    plain = made(SMALL)
    changed = made(dataclasses.replace(SMALL, **change))
    shared = {
        name: tensor
        for name, tensor in plain.state_dict().items()
        if name in changed.state_dict() and changed.state_dict()[name].shape == tensor.shape
    }
    changed.load_state_dict(shared, strict=False)
    for model in (plain, changed):
        for block in ("b8_0", "b16_0", "b32_0"):
            part = model.synthesis.get_submodule(block)
            if isinstance(getattr(part, "pos_embedding", None), torch.nn.Parameter):
                part.pos_embedding.data.fill_(0.1)
    z = latents(SMALL)
    first, second = plain(z), changed(z)
    assert first.shape == second.shape == (2, 3, 32, 32)
    assert second.isfinite().all()
    assert not torch.allclose(first, second)


def test_the_three_noise_modes_differ_and_given_noise_is_used() -> None:
    model = made(SMALL)
    for layer in model.synthesis.modules():
        if hasattr(layer, "noise_strength"):
            layer.noise_strength.data.fill_(0.5)
    z = latents(SMALL)
    generators = [torch.Generator().manual_seed(seed) for seed in (0, 1)]
    drawn = model.draw_noise(generators)
    images = [model(z, noise=noise) for noise in ("const", "none", drawn)]
    assert not torch.allclose(images[0], images[1])
    assert not torch.allclose(images[0], images[2])
    zeros = [torch.zeros_like(layer) for layer in drawn]
    torch.testing.assert_close(model(z, noise=zeros), images[1])


def test_noise_of_an_image_depends_on_its_own_generator_alone() -> None:
    model = made(SMALL)
    pair = model.draw_noise([torch.Generator().manual_seed(seed) for seed in (0, 1)])
    alone = model.draw_noise([torch.Generator().manual_seed(1)])
    for layer, single in zip(pair, alone, strict=True):
        torch.testing.assert_close(layer[1], single[0], rtol=0, atol=0)


def test_full_truncation_gives_every_latent_the_same_image() -> None:
    model = made(SMALL)
    model.mapping.w_avg.normal_(generator=torch.Generator().manual_seed(3))
    images = model(latents(SMALL), truncation_psi=0.0)
    torch.testing.assert_close(images[0], images[1])
    partly = model(latents(SMALL), truncation_psi=0.0, truncation_cutoff=1)
    assert not torch.allclose(partly[0], partly[1])


def test_labels_change_the_image_and_a_missing_label_is_an_error() -> None:
    config = dataclasses.replace(SMALL, c_dim=4)
    model = made(config)
    z = latents(config)
    first, second = (model(z, torch.eye(4)[[label, label]]) for label in (0, 1))
    assert not torch.allclose(first, second)
    with pytest.raises(ValueError, match="class-conditional"):
        model(z)


def test_widths_and_layers_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(ValueError, match="one entry"):
        StyleformerConfig(widths=(32, 16), layers=(1,))
    with pytest.raises(ValueError, match="not divisible"):
        StyleformerConfig(widths=(32, 10), layers=(1, 1), minimum_heads=4)


def test_the_last_style_vectors_are_never_read() -> None:
    model = made(SMALL)
    ws = torch.randn(1, SMALL.num_ws, SMALL.w_dim, generator=torch.Generator().manual_seed(5))
    ws.requires_grad_()
    model.synthesis(ws).square().sum().backward()
    used = sum(SMALL.layers) + 1
    assert ws.grad is not None
    assert (ws.grad[:, :used].abs().amax(dim=(0, 2)) > 0).all()
    assert (ws.grad[:, used:] == 0).all()


@pytest.mark.parametrize("linformer", [False, True])
@pytest.mark.parametrize("residual", ["modulated-value", "identity", "none"])
def test_slices_without_a_gradient_equal_the_whole_with_one(linformer: bool, residual: str) -> None:
    model = sliced_model(linformer, residual).double()
    source = torch.Generator().manual_seed(0)
    z = torch.randn(3, 8, generator=source).double()
    noise = [torch.randn(3, *shape, generator=source).double() for shape in model.noise_shapes]
    whole = model(z, noise=noise).detach()
    with torch.inference_mode():
        sliced = model(z, noise=noise)
    torch.testing.assert_close(sliced, whole, rtol=1e-9, atol=1e-10 * whole.abs().max().item())


@pytest.mark.parametrize("linformer", [False, True])
@pytest.mark.parametrize("residual", ["modulated-value", "identity", "none"])
def test_slices_are_also_made_in_half_precision(linformer: bool, residual: str) -> None:
    model = sliced_model(linformer, residual)
    z = torch.randn(1, 8, generator=torch.Generator().manual_seed(0))
    exact = model(z).detach()
    with torch.autocast("cpu", torch.bfloat16):
        whole = model(z).detach().float()
        with torch.inference_mode():
            sliced = model(z).float()
    errors = [(images - exact).abs().mean().item() for images in (sliced, whole)]
    assert 0 < errors[0] < 2 * errors[1] < exact.abs().mean().item()


def sliced_model(linformer: bool, residual: str) -> Styleformer:
    """Return a model whose 128 px are 16,384 tokens: eight slices, and one image at a time."""
    config = StyleformerConfig(
        widths=(16, 8, 8, 8, 8),
        layers=(1, 1, 1, 1, 1),
        z_dim=8,
        w_dim=8,
        head_width=8,
        linformer=linformer,
        residual=residual,
    )
    model = Styleformer(config).eval()
    source = torch.Generator().manual_seed(0)
    for tensor in [*model.parameters(), *model.buffers()]:
        tensor.data.normal_(generator=source).mul_(0.3)
    return model
