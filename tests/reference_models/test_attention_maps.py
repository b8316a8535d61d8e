"""The attention that is shown is the attention that makes the image."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from reference_models.attention_maps import captured, layers_of
from reference_models.equalized import initialize
from reference_models.styleformer import Styleformer
from reference_models.styleformer_config import StyleformerConfig

pytestmark = pytest.mark.fast
QUERIES = [0, 5, 63]


def model(**switches: object) -> Styleformer:
    config = StyleformerConfig(
        widths=(64, 32, 32), layers=(1, 2, 1), minimum_heads=2, w_dim=16, **switches
    )
    generator = Styleformer(config)
    source = torch.Generator().manual_seed(0)
    for part in generator.modules():
        if hasattr(part, "reset_parameters"):
            part.reset_parameters(source)
    return generator.eval()


@pytest.mark.parametrize("linformer", [False, True])
@pytest.mark.parametrize("style_injection", ["per-layer", "shared"])
def test_the_weights_are_those_of_the_kernel(
    linformer: bool, style_injection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = model(linformer=linformer, style_injection=style_injection)
    z = torch.randn(2, 512, generator=torch.Generator().manual_seed(1))
    kernel = F.scaled_dot_product_attention
    called: list[tuple[Tensor, Tensor]] = []

    def noting(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        called.append((q.clone(), k.clone()))
        return kernel(q, k, v)

    monkeypatch.setattr(F, "scaled_dot_product_attention", noting)
    with torch.inference_mode():
        for index, (place, layer) in enumerate(layers_of(generator)):
            called.clear()
            with captured(generator, place.name) as seen:
                generator(z, noise="none")
            weights, cover = seen.attention(QUERIES)
            q, k = called[index]
            expected = (q[:, :, QUERIES] @ k.transpose(2, 3) / q.shape[3] ** 0.5).softmax(dim=3)
            assert weights.shape == (2, layer.heads, len(QUERIES), layer.keys)
            assert torch.allclose(weights, expected, atol=1e-5)
            assert torch.allclose(weights.sum(dim=3), torch.ones(()), atol=1e-5)
            projected = linformer and place.resolution == 32
            assert (cover is not None) == projected
            if cover is not None:
                assert cover.shape == (layer.keys, place.resolution**2)


def test_nothing_is_left_behind() -> None:
    generator = model()
    (place, layer) = layers_of(generator)[0]
    with captured(generator, place.name):
        pass
    assert not layer._forward_pre_hooks
    assert "streamed" not in vars(layer)


@pytest.mark.parametrize("linformer", [False, True])
def test_layers_that_a_cpu_calls_slice_by_slice_are_captured(linformer: bool) -> None:
    config = StyleformerConfig(
        widths=(16, 16, 16, 16), layers=(1, 1, 1, 2), w_dim=16, linformer=linformer
    )
    generator = Styleformer(config)
    initialize(generator, torch.Generator().manual_seed(0))
    generator.eval()
    z = torch.randn(2, 512, generator=torch.Generator().manual_seed(1))
    for name in ("b64_0", "b64_1"):
        with captured(generator, name) as whole:
            images = generator(z)  # with gradients recorded, there are no slices
        with torch.inference_mode(), captured(generator, name) as sliced:
            assert torch.allclose(generator(z), images, atol=1e-5)
        with torch.inference_mode():
            pairs = list(zip(sliced.attention(QUERIES), whole.attention(QUERIES), strict=True))
        for found, expected in pairs:
            assert (found is None) == (expected is None)
            assert found is None or torch.allclose(found, expected, atol=1e-5)


def test_an_unknown_layer_is_an_error() -> None:
    with pytest.raises(KeyError), captured(model(), "b8_7"):
        pass
