"""3x3 convolution at every second pixel by the kernels, and its derivatives of any order.

It is linear in the map and in the kernels; so are both gradients in what they are made of. The
gradients of each of the three are the other two.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from reference_models.native.library import OPERATIONS
from reference_models.native.packing import pack

SIDE = 3
TAPS = [(y, x) for y in range(SIDE) for x in range(SIDE)]
DOWN, ACROSS = [list(part) for part in zip(*TAPS, strict=True)]

Map = Float[Tensor, "batch inputs height width"]
Halved = Float[Tensor, "batch outputs new_height new_width"]
Kernels = Float[Tensor, "outputs inputs 3 3"]


def keep_factors(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    """Keep both factors for the gradients; sizes may follow them."""
    del output
    ctx.save_for_backward(*inputs[:2])


class Halving(torch.autograd.Function):
    """Map and kernels -> map."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor) -> Tensor:
        """Return the correlation."""
        return halve(x, weight)

    setup_context = staticmethod(keep_factors)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Return the gradients of map and kernels, as far as they are asked for."""
        x, weight = ctx.saved_tensors
        by_map, by_weight = ctx.needs_input_grad
        return (
            MapGradient.apply(gradient, weight, *x.shape[2:]) if by_map else None,
            KernelGradient.apply(x, gradient) if by_weight else None,
        )


class MapGradient(torch.autograd.Function):
    """Gradient of the convolved map and kernels -> gradient of the map."""

    @staticmethod
    def forward(gradient: Tensor, weight: Tensor, height: int, width: int) -> Tensor:
        """Return the gradient of the map."""
        return carry_back(gradient, weight, height, width)

    setup_context = staticmethod(keep_factors)

    @staticmethod
    def backward(ctx: Any, x: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        """Return the gradients of both factors."""
        gradient, weight = ctx.saved_tensors
        by_gradient, by_weight = ctx.needs_input_grad[:2]
        return (
            Halving.apply(x, weight) if by_gradient else None,
            KernelGradient.apply(x, gradient) if by_weight else None,
            None,
            None,
        )


class KernelGradient(torch.autograd.Function):
    """Map and gradient of the convolved map -> gradient of the kernels."""

    @staticmethod
    def forward(x: Tensor, gradient: Tensor) -> Tensor:
        """Return the gradient of the kernels."""
        return correlate(x, gradient)

    setup_context = staticmethod(keep_factors)

    @staticmethod
    def backward(ctx: Any, weight: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Return the gradients of both maps."""
        x, gradient = ctx.saved_tensors
        by_map, by_gradient = ctx.needs_input_grad
        return (
            MapGradient.apply(gradient, weight, *x.shape[2:]) if by_map else None,
            Halving.apply(x, weight) if by_gradient else None,
        )


def halve(x: Map, weight: Kernels) -> Halved:
    """Return the correlation at every second pixel."""
    batch, _, height, width = x.shape
    y = x.new_empty(batch, (height - 1) // 2, (width - 1) // 2, len(weight))
    matrices = weight.permute(2, 3, 1, 0).flatten(0, 1)
    OPERATIONS.convolve_taps(channels_last(x), pack(matrices), y, DOWN, ACROSS, 2)
    return y.permute(0, 3, 1, 2)


def carry_back(gradient: Halved, weight: Kernels, height: int, width: int) -> Map:
    """Return the gradient of the map: its pixels of either parity see taps of that parity alone."""
    g = channels_last(gradient)
    packed = pack(weight.permute(2, 3, 0, 1).flatten(0, 1))
    found = gradient.new_empty(len(g), height, width, weight.shape[1])
    for y in range(2):
        for x in range(2):
            taps = [n for n, (down, across) in enumerate(TAPS) if (down % 2, across % 2) == (y, x)]
            offsets = [[-(axis[n] // 2) for n in taps] for axis in (DOWN, ACROSS)]
            OPERATIONS.convolve_taps(g, packed[taps], found[:, y::2, x::2], *offsets, 1)
    return found.permute(0, 3, 1, 2)


def correlate(x: Map, gradient: Halved) -> Kernels:
    """Return the gradient of the kernels."""
    g = channels_last(gradient)
    taps = OPERATIONS.taps_of(
        channels_last(x), pack(g.flatten(0, 2)), DOWN, ACROSS, 2, *g.shape[1:3]
    )
    found: Tensor = taps.unflatten(0, (3, 3)).permute(3, 2, 0, 1)
    return found


def channels_last(
    x: Float[Tensor, "batch channels height width"],
) -> Float[Tensor, "batch height width channels"]:
    """Return the map with its channels last, in that order in memory."""
    return x.permute(0, 2, 3, 1).contiguous()
