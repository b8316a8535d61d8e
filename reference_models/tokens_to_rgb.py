"""The color layer of Styleformer (arXiv 2106.07023, figure 2: tRGB)."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reference_models.equalized import EqualizedLinear
from reference_models.modulation import demodulation
from reference_models.precision import full_precision


class TokensToRGB(nn.Module):
    """Color layer: [batch, tokens, C] -> [batch, image channels, side, side], demodulated."""

    def __init__(self, w_dim: int, channels: int, image_channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(image_channels, channels))
        self.bias = nn.Parameter(torch.empty(image_channels))
        self.affine = EqualizedLinear(w_dim, channels, bias_init=1.0)

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draw the initial weights: uniform within 1/sqrt(channels), bias 0."""
        bound = 1 / math.sqrt(self.weight.shape[1])
        self.weight.data.uniform_(-bound, bound, generator=generator)
        self.bias.data.zero_()

    def forward(
        self, x: Float[Tensor, "batch tokens channels"], w: Float[Tensor, "batch w_dim"]
    ) -> Float[Tensor, "batch image_channels side side"]:
        """Return the image of this resolution (never clamped), in the precision of the weights."""
        with full_precision(x):
            x, w = x.to(self.weight.dtype), w.to(self.weight.dtype)
            style = self.affine(w)
            scale = style.unsqueeze(1) * demodulation(self.weight, style).unsqueeze(2)
            weights = self.weight * scale  # [batch, image channels, channels]
            image = torch.baddbmm(self.bias.unsqueeze(1), weights, x.transpose(1, 2))
        side = math.isqrt(x.shape[1])
        return image.view(*image.shape[:2], side, side)
