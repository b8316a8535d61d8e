"""The GANsformer: published sizes, counted operations, cheaper attention, independence of images."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from reference_models.bipartite_attention import BipartiteAttention
from reference_models.equalized import initialize
from reference_models.gansformer import Gansformer, grid_positions
from reference_models.gansformer_config import BipartiteConfig, GansformerConfig
from reference_models.gansformer_files import gansformer_config

DUPLEX = BipartiteConfig(integration="mul", norm="layer", duplex=True)
SIMPLEX = dataclasses.replace(DUPLEX, duplex=False)
PUBLISHED = GansformerConfig(
    resolution=256,
    components=16,
    latent_dim=32,
    mapping_resnet=True,
    mapping_attention=BipartiteConfig(),
    mapping_positions=True,
    image_path="resnet",
    attention=DUPLEX,
    positions=True,
    end=8,
)
CLEVR = dataclasses.replace(
    PUBLISHED, components=8, latent_dim=16, mapping_attention=None, style=False
)
TINY = dataclasses.replace(
    PUBLISHED, resolution=32, components=3, latent_dim=8, channel_base=256, channel_max=16
)


def made(config: GansformerConfig) -> Gansformer:
    network = Gansformer(config)
    initialize(network, torch.Generator().manual_seed(0))
    return network.eval()


@pytest.mark.fast
@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        (PUBLISHED, 30_903_632),
        (dataclasses.replace(PUBLISHED, attention=SIMPLEX), 30_729_552),
        (CLEVR, 30_357_936),
        (dataclasses.replace(PUBLISHED, resolution=128), 30_866_766),
        (dataclasses.replace(PUBLISHED, resolution=64), 30_379_340),
        (dataclasses.replace(PUBLISHED, resolution=32), 24_143_178),
        (dataclasses.replace(PUBLISHED, resolution=1024), 30_916_948),
    ],
)
def test_published_networks_have_the_published_number_of_parameters(
    config: GansformerConfig, parameters: int
) -> None:
    with torch.device("meta"):
        network = Gansformer(config)
    assert sum(p.numel() for p in network.parameters()) == parameters


def products(config: GansformerConfig) -> float:
    """Return the operations of one image by formula, without mapping and affine layers (negligible).

    The skip's filter is an interpolation here, which is counted as nothing.
    """
    total = 0.0
    latents, width, place = config.components, config.latent_dim, config.place_dim
    for side in config.resolutions:
        channels, first = config.channels(side), side == 4
        before = config.channels(side // 2)
        total += 18 * channels**2 * side**2
        if not first:
            total += 18 * before * channels * (side / 2) ** 2 + 32 * channels * side**2
            total += 2 * before * channels * (side / 2) ** 2
        if config.attends(side):
            n = side**2
            one = 4 * n * channels**2 + 2 * n * place * channels
            one += 2 * n * latents * channels * (3 if config.attention == DUPLEX else 2)
            one += (2 if config.attention == DUPLEX else 6) * latents * width * channels
            total += one * (1 if first else 2)
    side, channels = config.resolution, config.channels(config.resolution)
    return total + 18 * channels**2 * side**2 + 6 * channels * side**2


@pytest.mark.fast
@pytest.mark.parametrize("attention", [DUPLEX, SIMPLEX], ids=["duplex", "simplex"])
@pytest.mark.parametrize("side", [32, 64, 256])
def test_operations_are_those_of_the_formulas(side: int, attention: BipartiteConfig) -> None:
    config = dataclasses.replace(PUBLISHED, resolution=side, attention=attention)
    with torch.device("meta"):
        network = Gansformer(config).eval().requires_grad_(requires_grad=False)
        z = torch.empty(1, config.latents, config.latent_dim)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(z)
    assert counter.get_total_flops() == pytest.approx(products(config), rel=2e-3)


@pytest.mark.fast
@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("integration", ["add", "mul", "both"])
@pytest.mark.parametrize("duplex", [False, True])
def test_matrices_on_the_latents_give_what_matrices_on_the_places_give(
    heads: int, integration: str, duplex: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = BipartiteConfig(heads=heads, integration=integration, norm="layer", duplex=duplex)  # type: ignore[arg-type]  # one of three
    layer = BipartiteAttention(
        config, channels=8, to_dim=6, from_pos_dim=8, to_pos_dim=6, latents=3
    ).double()
    source = torch.Generator().manual_seed(0)
    for parameter in layer.parameters():
        parameter.data.normal_(generator=source)
    x, y = (torch.randn(2, n, w, generator=source).double() for n, w in ((16, 8), (3, 6)))
    places = torch.randn(16, 8, generator=source).double()
    latents = torch.randn(3, 6, generator=source).double()
    fast = layer.eval()(x, y, places, latents)
    monkeypatch.setattr(BipartiteAttention, "as_written", staticmethod(lambda _: True))
    plain = layer(x, y, places, latents)
    torch.testing.assert_close(fast.x, plain.x)
    torch.testing.assert_close(fast.weights, plain.weights)
    torch.testing.assert_close(fast.weights.sum(dim=3), torch.ones_like(fast.weights[..., 0]))


def test_images_depend_on_their_own_latents_and_truncation_ends_in_the_mean() -> None:
    network = made(TINY)
    z = torch.randn(3, 4, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        together, alone = network(z), network(z[1:2])
        torch.testing.assert_close(together[1:2], alone, rtol=1e-4, atol=1e-5)
        moved = z.clone()
        moved[0, 2] += 1
        assert (network(moved)[0] - together[0]).abs().max() > 1e-3
        assert torch.equal(network(moved)[1:], together[1:])
        same = network(z, truncation_psi=0.0)
        torch.testing.assert_close(same[0], same[1])
        maps = network.attention(network.styles(z))
    assert [side for side, _ in maps] == [4, 8, 8, 16, 16, 32, 32]
    for side, one in maps:
        assert one.shape == (3, 1, 3, side, side)
        torch.testing.assert_close(one.sum(dim=2), torch.ones(3, 1, side, side))


@pytest.mark.fast
def test_positions_are_distinct_and_of_the_place_alone() -> None:
    for directions in (2, 4):
        grid = grid_positions(8, 16, directions)
        assert grid.shape == (64, 16)
        assert len({tuple(row.tolist()) for row in grid}) == 64
    line = grid_positions(8, 16, 2)
    assert torch.equal(line[:8, 8:], line[:1, 8:].expand(8, -1))  # one row has one height


@pytest.mark.fast
@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"resolution": 48}, "resolution"),
        ({"components": 0}, "components"),
        ({"c_dim": 3}, "classes"),
        ({"position_dim": 6}, "position_dim"),
    ],
)
def test_impossible_sizes_are_refused(change: dict[str, object], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        dataclasses.replace(PUBLISHED, **change)  # type: ignore[arg-type]  # any field


@pytest.mark.fast
def test_what_the_released_program_cannot_do_is_refused() -> None:
    base = {"img_resolution": 32, "z_dim": 8, "k": 3}
    synthesis = {"transformer": True}
    with pytest.raises(ValueError, match="positions of type"):
        gansformer_config(base | {"synthesis_kwargs": synthesis | {"pos_type": "linear"}})
    with pytest.raises(ValueError, match="stem"):
        gansformer_config(base | {"synthesis_kwargs": synthesis | {"latent_stem": True}})
