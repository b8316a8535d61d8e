from __future__ import annotations

import pytest
import torch

from reference_models.discriminator import Discriminator, DiscriminatorConfig
from reference_models.equalized import initialize
from reference_models.styleformer_c import StyleformerC, StyleformerCConfig
from reference_models.styleformer_config import StyleformerConfig
from reference_models.stylegan2 import StyleGAN2, StyleGAN2Config

LOW = StyleformerConfig(widths=(32, 16), layers=(1, 2), z_dim=16, w_dim=16, head_width=8)


def millions(module: torch.nn.Module) -> float:
    return sum(p.numel() for p in module.parameters()) / 1e6


@pytest.mark.parametrize(
    ("resolution", "base", "expected"),
    [
        (32, 16384, 19.948),
        (32, 32768, 19.948),
        (64, 16384, 22.244),
        (64, 32768, 25.457),
        (128, 16384, 22.949),
        (128, 32768, 27.753),
        (256, 16384, 23.192),
        (256, 32768, 28.458),
    ],
)
def test_stylegan2_has_the_published_number_of_parameters(
    resolution: int, base: int, expected: float
) -> None:
    with torch.device("meta"):
        model = StyleGAN2(StyleGAN2Config(resolution=resolution, channel_base=base))
    assert millions(model) == pytest.approx(expected, abs=6e-4)


@pytest.mark.parametrize(("resolution", "expected"), [(32, 20.721), (64, 25.440), (128, 27.209)])
def test_the_discriminator_has_the_published_number_of_parameters(
    resolution: int, expected: float
) -> None:
    with torch.device("meta"):
        model = Discriminator(DiscriminatorConfig(resolution=resolution, architecture="orig"))
    assert millions(model) == pytest.approx(expected, abs=6e-4)


@pytest.mark.parametrize("resolution", [8, 16, 48, 96])
@pytest.mark.parametrize("architecture", ["resnet", "skip", "orig"])
def test_the_discriminator_takes_8_px_and_48_px(resolution: int, architecture: str) -> None:
    config = DiscriminatorConfig(
        resolution=resolution, architecture=architecture, channel_base=256, channel_max=16
    )
    model = Discriminator(config)
    initialize(model, torch.Generator().manual_seed(0))
    assert model(torch.zeros(4, 3, resolution, resolution)).shape == (4, 1)


def test_impossible_resolutions_are_refused() -> None:
    with pytest.raises(ValueError, match="power of two"):
        StyleGAN2Config(resolution=48)
    with pytest.raises(ValueError, match="4 or 6 times"):
        DiscriminatorConfig(resolution=20)
    with pytest.raises(ValueError, match="split resolution"):
        StyleformerCConfig(low=LOW, resolution=16)
    with pytest.raises(ValueError, match="split resolution"):
        StyleformerCConfig(low=LOW, resolution=48)


def test_styleformer_c_uses_each_style_vector_and_equals_styleformer_below() -> None:
    config = StyleformerCConfig(low=LOW, resolution=64, channel_base=512, channel_max=8)
    model = StyleformerC(config)
    initialize(model, torch.Generator().manual_seed(0))
    source = torch.Generator().manual_seed(1)
    ws = torch.randn(2, config.num_ws, 16, generator=source, requires_grad=True)
    image = model.eval().synthesis(ws)
    image.square().sum().backward()
    assert image.shape == (2, 3, 64, 64)
    assert ws.grad is not None
    assert (ws.grad.abs().amax(dim=(0, 2)) > 0).all()
    torch.testing.assert_close(
        model.synthesis.low(ws), model.synthesis.low.features(ws, "const")[1]
    )


def test_styleformer_c_takes_one_noise_tensor_a_layer() -> None:
    config = StyleformerCConfig(low=LOW, resolution=32, channel_base=256, channel_max=8)
    model = StyleformerC(config)
    initialize(model, torch.Generator().manual_seed(0))
    noise = model.draw_noise([torch.Generator().manual_seed(0)])
    assert len(noise) == sum(LOW.layers) + 2
    z = torch.randn(1, 16, generator=torch.Generator().manual_seed(2))
    quiet = [torch.zeros_like(layer) for layer in noise]
    torch.testing.assert_close(model.eval()(z, noise=quiet), model(z, noise="none"))


@pytest.mark.parametrize("image_path", ["skip", "resnet", "orig"])
def test_slices_without_a_gradient_equal_the_whole_with_one(image_path: str) -> None:
    config = StyleGAN2Config(
        resolution=64, z_dim=8, w_dim=8, channel_base=8192, channel_max=128, image_path=image_path
    )
    model = StyleGAN2(config).eval()
    source = torch.Generator().manual_seed(0)
    for tensor in [*model.parameters(), *model.buffers()]:
        tensor.data.normal_(generator=source)
    z = torch.randn(3, 8, generator=source)
    noise = model.draw_noise([torch.Generator().manual_seed(seed) for seed in range(3)])
    whole = model(z, noise=noise).detach()
    with torch.inference_mode():
        sliced = model(z, noise=noise)
    torch.testing.assert_close(sliced, whole, rtol=1e-4, atol=1e-5 * whole.abs().max().item())
