"""The convolution of a doubled map by differences, against the convolution as written."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from reference_models import doubling

pytestmark = pytest.mark.fast


def made(batch: int, channels: int, outputs: int, *side: int) -> tuple[Tensor, Tensor, Tensor]:
    source = torch.Generator().manual_seed(0)
    x = torch.randn(batch, channels, *side, generator=source)
    weight = torch.randn(outputs, channels, 3, 3, generator=source)
    return x, weight, torch.randn(outputs, generator=source)


@pytest.mark.parametrize("sizes", [(1, 48, 64, 4, 4), (3, 64, 48, 7, 5), (2, 48, 48, 33, 20)])
@pytest.mark.parametrize("biased", [True, False])
def test_it_is_the_convolution_of_the_doubled_map(sizes: tuple[int, ...], *, biased: bool) -> None:
    x, weight, bias = made(*sizes)
    given = bias if biased else None
    with torch.no_grad():
        assert doubling.pays(x, weight)
        found = doubling.convolve_doubled(x, weight, given)
    wide = (x.double(), weight.double(), bias.double() if biased else None)
    expected = F.conv2d(doubling.doubled(wide[0]), *wide[1:], padding=1)
    assert found.shape == expected.shape
    assert (found - expected).abs().max() < 1e-6 * expected.abs().max()


def test_gradients_other_types_and_narrow_maps_take_the_convolution_as_written() -> None:
    x, weight, bias = made(1, 48, 48, 4, 4)
    assert not doubling.pays(x, weight)
    x.requires_grad_()
    doubling.convolve_doubled(x, weight, bias).sum().backward()
    assert x.grad is not None
    with torch.no_grad():
        assert not doubling.pays(x.double(), weight.double())
        assert not doubling.pays(x[:, :16], weight[:, :16])
