"""BigGAN and BigGAN-deep: published sizes, counted operations, state dicts, standing statistics."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from reference_models.biggan import BigGAN, accumulate_standing
from reference_models.biggan_config import PRESETS, START_SIDE, BigGANConfig
from reference_models.biggan_files import completed, config_of
from reference_models.spectral_norm import SpectralLayer, folded

BY_NAME = {preset.name: preset.config for preset in PRESETS}
TINY = BigGANConfig(resolution=32, channels=4, z_dim=24, classes=5, shared_dim=10, attention=(16,))
DEEP = dataclasses.replace(TINY, deep=True)


def made(config: BigGANConfig) -> BigGAN:
    network = BigGAN(config)
    network.reset_parameters(torch.Generator().manual_seed(0))
    return network.eval()


def inputs(config: BigGANConfig, count: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    source = torch.Generator().manual_seed(1)
    z = torch.randn(count, config.drawn, generator=source)
    return z, torch.randint(config.classes, (count,), generator=source)


@pytest.mark.fast
@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("cifar10", 4_304_387),
        ("imagenet-64", 70_222_212),
        ("imagenet-128", 70_433_988),
        ("imagenet-256", 82_097_604),
        ("imagenet-512", 82_296_804),
        ("deep-imagenet-128", 50_244_484),
        ("deep-imagenet-256", 55_736_708),
    ],
)
def test_published_networks_have_the_published_number_of_parameters(
    name: str, parameters: int
) -> None:
    with torch.device("meta"):
        network = BigGAN(BY_NAME[name])
    assert sum(p.numel() for p in network.parameters()) == parameters


def products(config: BigGANConfig) -> float:
    """Return the operations of one image by formula: two for each multiplication with an addition."""
    total = 2.0 * config.first * config.inputs[0] * START_SIDE**2
    table = config.shared_dim is None
    condition = config.condition
    for ci, co, side in zip(config.inputs, config.outputs, config.sides, strict=True):
        if config.deep:
            for last in (False, True):
                width, r, out = ci // 4, side // 2, side if last else side // 2
                to = co if last else ci
                total += 2 * ci * width * r**2 + 36 * width**2 * out**2 + 2 * width * to * out**2
                total += 4 * condition * (ci + 3 * width)
        else:
            total += (18 * ci * co + 18 * co**2 + 2 * ci * co) * side**2
            total += 0 if table else 4 * condition * (ci + co)
        if side in config.attention:
            total += 2.5 * co**2 * side**2 + 5 / 16 * co * side**4
    return total + 54 * config.outputs[-1] * side**2


@pytest.mark.fast
@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_operations_are_those_of_the_formulas(name: str) -> None:
    config = BY_NAME[name]
    with torch.device("meta"):
        network = folded(BigGAN(config))
        z, c = torch.empty(1, config.drawn), torch.zeros(1, config.classes)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(z, c)
    looked_up = 2 * config.classes * (config.shared_dim or 0)
    if config.shared_dim is None:
        widths = zip(config.inputs, config.outputs, strict=True)
        looked_up = sum(4 * config.classes * (ci + co) for ci, co in widths)
    assert counter.get_total_flops() - looked_up == pytest.approx(products(config), rel=1e-5)


@pytest.mark.parametrize("config", [TINY, DEEP, BY_NAME["cifar10"]], ids=["tiny", "deep", "cifar"])
def test_sizes_are_read_off_the_tensors(config: BigGANConfig) -> None:
    small = dataclasses.replace(config, channels=8, classes=3)
    found = config_of(BigGAN(small).state_dict(), spectral_eps=small.spectral_eps)
    assert dataclasses.replace(found, initialization=small.initialization) == small


@pytest.mark.fast
def test_a_port_without_singular_values_is_completed_and_others_are_refused() -> None:
    state = BigGAN(TINY).state_dict()
    bare = {name: tensor for name, tensor in state.items() if "sv" not in name.rpartition(".")[2]}
    assert completed(bare).keys() == state.keys()
    with pytest.raises(ValueError, match="not the tensors"):
        config_of({"weight": torch.zeros(1)})
    with pytest.raises(ValueError, match="blocks"):
        config_of({name: one for name, one in state.items() if not name.startswith("blocks.2.")})


@pytest.mark.parametrize("config", [TINY, DEEP], ids=["plain", "deep"])
def test_folding_and_the_cheaper_convolutions_change_rounding_alone(config: BigGANConfig) -> None:
    network, (z, c) = made(config), inputs(config)
    for layer in network.modules():
        if isinstance(layer, SpectralLayer) and layer.bias is not None:
            layer.bias.data.add_(0.1)
    with torch.no_grad():
        before = network(z, c)
        one_hot = network(z, torch.nn.functional.one_hot(c, config.classes).float())
        after = folded(network)(z, c)
        single = network(z[1:2], c[1:2])
    scale = before.abs().max()
    assert torch.equal(before, one_hot)
    assert (after - before).abs().max() < 2e-6 * scale
    assert (single - after[1:2]).abs().max() < 5e-6 * scale  # the tolerance of references
    assert before.abs().max() <= 1


def test_standing_statistics_make_an_image_depend_on_its_latent_alone() -> None:
    config = dataclasses.replace(TINY, own_norm=True)
    network, (z, c) = made(config), inputs(config)
    network.train()
    with torch.no_grad():
        together, alone = network(z, c), network(z[:2], c[:2])
    assert not torch.allclose(together[:2], alone, atol=1e-3)
    batches = [inputs(config, 6) for _ in range(3)]
    accumulate_standing(network, batches)
    assert not network.training
    norm = network.blocks[0][0].bn1.bn
    assert norm.accumulation_counter.item() == 3
    with torch.no_grad():
        together, alone = network(z, c), network(z[:2], c[:2])
    torch.testing.assert_close(together[:2], alone)
    with pytest.raises(ValueError, match="own_norm"):
        accumulate_standing(made(TINY), batches)


@pytest.mark.fast
@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"resolution": 48}, "resolution"),
        ({"resolution": 512, "deep": True}, "resolution"),
        ({"shared_dim": None, "deep": True}, "shared"),
        ({"channels": 1, "attention": (32,)}, "attention"),
        ({"resolution": 64, "deep": True, "depth": 1}, "depth"),
    ],
)
def test_impossible_sizes_are_refused(change: dict[str, object], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        dataclasses.replace(TINY, **change)  # type: ignore[arg-type]  # any field
