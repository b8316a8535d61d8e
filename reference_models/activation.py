"""Leaky ReLU with gain and clamp, which keeps one tensor for its derivatives instead of five.

Source: Karras et al., "Progressive Growing of GANs" (arXiv 1710.10196, section 4.1); the gain is
that of He et al. (arXiv 1502.01852).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

LEAKY_SLOPE = 0.2


def leaky_relu(
    x: Float[Tensor, "..."], *, gain: float = math.sqrt(2), clamp: float | None = None
) -> Float[Tensor, "..."]:
    """Return leaky ReLU (slope 0.2) of `x` times `gain`, limited to plus or minus `clamp`.

    The gain sqrt(2) keeps the variance of a normal input. It can be differentiated twice.
    """
    if torch.is_grad_enabled() and not torch.compiler.is_compiling():
        y: Tensor = LeakyReLU.apply(x, gain, clamp)
        return y
    return bent(x, gain, clamp)


def bent(x: Tensor, gain: float, clamp: float | None) -> Tensor:
    """Return the activation, written step by step for compilers to fuse."""
    y = F.leaky_relu(x, LEAKY_SLOPE)
    if gain != 1:
        y = y * gain
    return y if clamp is None else y.clamp(-clamp, clamp)


class LeakyReLU(torch.autograd.Function):
    """The activation; what comes out says all that its derivative needs."""

    @staticmethod
    def forward(x: Tensor, gain: float, clamp: float | None) -> Tensor:
        """Return the activation."""
        y = F.leaky_relu(x, LEAKY_SLOPE)
        if gain != 1:
            y.mul_(gain)
        return y if clamp is None else y.clamp_(-clamp, clamp)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float, float | None], output: Tensor) -> None:
        """Keep the output."""
        _, ctx.gain, ctx.clamp = inputs
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient of `x`."""
        (y,) = ctx.saved_tensors
        return Slope.apply(gradient, y, ctx.gain, ctx.clamp), None, None


class Slope(torch.autograd.Function):
    """A gradient times the slope of the activation at `y`; its derivative is itself."""

    @staticmethod
    def forward(gradient: Tensor, y: Tensor, gain: float, clamp: float | None) -> Tensor:
        """Return the product: 0 at the clamp, else gain, or a fifth of it below zero."""
        found = torch.ops.aten.leaky_relu_backward(gradient, y, LEAKY_SLOPE, True)  # noqa: FBT003  # torch's signature
        if gain != 1:
            found.mul_(gain)
        if clamp is not None:
            found = torch.ops.aten.hardtanh_backward(found, y, -clamp, clamp)
        product: Tensor = found
        return product

    @staticmethod
    def setup_context(
        ctx: Any, inputs: tuple[Tensor, Tensor, float, float | None], output: Tensor
    ) -> None:
        """Keep where the slope is taken."""
        del output
        _, y, ctx.gain, ctx.clamp = inputs
        ctx.save_for_backward(y)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        """Return the gradient of the gradient; the slope is constant almost everywhere."""
        (y,) = ctx.saved_tensors
        return Slope.apply(gradient, y, ctx.gain, ctx.clamp), None, None, None
