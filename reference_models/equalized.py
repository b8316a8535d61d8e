"""Layers with an equalized learning rate: the fully connected layer and the leaky ReLU of StyleGAN.

Source: Karras et al., "Progressive Growing of GANs" (arXiv 1710.10196, section 4.1) and
"A Style-Based Generator Architecture" (arXiv 1812.04948).
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from reference_models.activation import LEAKY_SLOPE, leaky_relu


def activated(
    y: Float[Tensor, "..."],
    bias: Float[Tensor, "..."],
    extra: Float[Tensor, "..."] | None = None,
    *,
    scale: Float[Tensor, "..."] | None = None,
    clamp: float | None = None,
) -> Float[Tensor, "..."]:
    """Return leaky ReLU of y scale + extra + bias, without gain, within plus or minus `clamp`.

    `y` itself is overwritten where no gradient is recorded: the caller must have just made it.
    """
    if torch.is_grad_enabled():
        y = y if scale is None else y * scale
        y = y if extra is None else y + extra
        return leaky_relu(y + bias, gain=1.0, clamp=clamp)
    if scale is not None:
        y.mul_(scale)
    if extra is not None:
        y.add_(extra)
    F.leaky_relu_(y.add_(bias), LEAKY_SLOPE)
    return y if clamp is None else y.clamp_(-clamp, clamp)


class EqualizedLinear(nn.Module):
    """Fully connected layer y = x (g W)^T + m b with g = m / sqrt(inputs), m the rate multiplier.

    Weights start as N(0, 1) / m, so that the effective weight starts at N(0, 1) / sqrt(inputs).
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        bias_init: float = 0.0,
        rate_multiplier: float = 1.0,
        activation: Literal["linear", "leaky_relu"] = "linear",
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.bias = nn.Parameter(torch.empty(outputs))
        self.bias_init = bias_init
        self.rate_multiplier = rate_multiplier
        self.activation = activation

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draw the initial weights from `generator`."""
        self.weight.data.normal_(generator=generator).div_(self.rate_multiplier)
        self.bias.data.fill_(self.bias_init)

    def forward(self, x: Float[Tensor, "batch inputs"]) -> Float[Tensor, "batch outputs"]:
        """Return the layer's output, activated when the layer was made so."""
        gain = self.rate_multiplier / math.sqrt(self.weight.shape[1])
        y = torch.addmm(self.bias * self.rate_multiplier, x, self.weight.T, alpha=gain)
        return leaky_relu(y) if self.activation == "leaky_relu" else y


def initialize(module: nn.Module, generator: torch.Generator) -> None:
    """Give every layer of `module` its published initial weights, drawn from `generator`.

    Layers are visited in the order of `module.modules()`; a module on the meta device is left alone.
    """
    for layer in module.modules():
        reset = getattr(layer, "reset_parameters", None)
        parameter = next(layer.parameters(recurse=False), None)
        if reset is not None and parameter is not None and not parameter.is_meta:
            reset(generator)
