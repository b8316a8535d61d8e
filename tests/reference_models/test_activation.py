"""Leaky ReLU with gain and clamp: its own derivatives against torch's of the same formula."""

from __future__ import annotations

import pytest
import torch

from reference_models.activation import bent, leaky_relu


@pytest.mark.fast
@pytest.mark.parametrize(("gain", "clamp"), [(2**0.5, 1.5), (1.0, None), (0.7, 256.0)])
def test_values_and_both_orders_of_derivatives(gain: float, clamp: float | None) -> None:
    source = torch.Generator().manual_seed(0)
    x = torch.randn(4, 5, generator=source, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(leaky_relu(x, gain=gain, clamp=clamp), bent(x, gain, clamp))

    def curved(function: object) -> list[torch.Tensor]:
        y = function(x.square() - 1)  # type: ignore[operator]  # a function of one tensor
        (first,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        return [first, *torch.autograd.grad(first.square().sum(), x)]

    found = curved(lambda x: leaky_relu(x, gain=gain, clamp=clamp))
    torch.testing.assert_close(found, curved(lambda x: bent(x, gain, clamp)))


@pytest.mark.fast
def test_func_grad_goes_through_it_twice() -> None:
    x = torch.linspace(-2, 2, 9, dtype=torch.float64, requires_grad=True)
    inner = torch.func.grad(lambda x: leaky_relu(x.square() - 1, clamp=1.0).sum())
    (found,) = torch.autograd.grad(inner(x).square().sum(), x)
    slope = torch.func.grad(lambda x: bent(x.square() - 1, 2**0.5, 1.0).sum())
    (expected,) = torch.autograd.grad(slope(x).square().sum(), x)
    torch.testing.assert_close(found, expected)
