"""Convolution by tiles: values and derivatives of both orders against the direct one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from reference_models import winograd

SHAPES = ((1, 128, 64, 64), (8, 128, 16, 16), (3, 128, 34, 62))


def direct(x: Tensor, weight: Tensor) -> Tensor:
    return F.conv2d(x, weight, padding=1)


def error(found: Tensor, exact: Tensor) -> float:
    return ((found - exact).abs().max() / exact.abs().max()).item()


@pytest.mark.fast
@pytest.mark.parametrize("shape", SHAPES)
def test_a_convolution_by_tiles_equals_the_direct_one(shape: tuple[int, ...]) -> None:
    source = torch.Generator().manual_seed(0)
    weight = torch.randn(130, 128, 3, 3, generator=source)
    x = torch.randn(shape, generator=source)
    assert winograd.pays(x, len(weight))
    found = winograd.convolve(x, winograd.transformed(weight), len(weight))
    assert error(found, direct(x.double(), weight.double())) < 2e-6


@pytest.mark.fast
def test_gradients_and_their_gradients_round_no_more_than_the_direct_ones() -> None:
    """Of map and kernels, in both orders, against float64; inputs of both memory layouts."""
    source = torch.Generator().manual_seed(0)
    weight = torch.randn(130, 128, 3, 3, generator=source)
    x = torch.randn(4, 128, 24, 32, generator=source)
    assert winograd.pays(x, len(weight))

    def everything(convolution: object, *inputs: Tensor) -> list[Tensor]:
        given = [tensor.requires_grad_() for tensor in inputs]
        y = convolution(*given)  # type: ignore[operator]  # a function of two tensors
        first = torch.autograd.grad(y.sin().sum(), given, create_graph=True)
        penalty = first[0].square().mean() + first[1].square().mean()
        return [y, *first, *torch.autograd.grad(penalty, given)]

    exact = everything(direct, x.double(), weight.double())
    plain = everything(direct, x.clone(), weight.clone())
    for layout in (torch.contiguous_format, torch.channels_last):
        found = everything(winograd.convolution, x.clone(memory_format=layout), weight.clone())
        for tiled, usual, true in zip(found, plain, exact, strict=True):
            assert error(tiled, true) <= 2 * error(usual, true)


@pytest.mark.fast
def test_the_gradient_of_a_sum_by_func_grad_is_differentiable() -> None:
    """As R1 takes it."""
    source = torch.Generator().manual_seed(0)
    weight = torch.randn(128, 128, 3, 3, generator=source, requires_grad=True)
    x = torch.randn(2, 128, 32, 32, generator=source)

    def squares(convolution: object) -> Tensor:
        return torch.func.grad(lambda x: convolution(x, weight).square().sum())(x).square().sum()  # type: ignore[no-any-return, operator]  # as above

    (found,) = torch.autograd.grad(squares(winograd.convolution), weight)
    (exact,) = torch.autograd.grad(squares(direct), weight)
    assert error(found, exact) < 2e-5


@pytest.mark.fast
def test_small_odd_and_half_precision_maps_are_convolved_directly() -> None:
    assert not winograd.pays(torch.zeros(1, 128, 65, 64), 128)
    assert not winograd.pays(torch.zeros(1, 64, 64, 64), 128)
    assert not winograd.pays(torch.zeros(1, 128, 64, 64, dtype=torch.bfloat16), 128)
    assert not winograd.pays(torch.zeros(1, 128, 16, 16), 128)
