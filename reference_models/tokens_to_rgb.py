"""The color layer of Styleformer (arXiv 2106.07023, figure 2: tRGB)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reference_models.equalized import EqualizedLinear
from reference_models.modulation import demodulation
from reference_models.precision import full_precision
from reference_models.token_stream import TokenStream, each


class ColorKernels(Protocol):
    """Another way to compute the colors: see reference_models/native."""

    def take(self, w: Tensor) -> bool:
        """Return whether to compute these style vectors [batch, w_dim] so."""
        ...

    def colors(
        self, layer: TokensToRGB, x: TokenStream, w: Tensor, *, keep: bool
    ) -> tuple[Tensor | None, Tensor]:
        """Return what `TokensToRGB.streamed` returns."""
        ...


class TokensToRGB(nn.Module):
    """Color layer: [batch, tokens, C] -> [batch, image channels, side, side], demodulated."""

    kernels: ColorKernels | None = None
    """What computes it in inference in place of torch's operations, where that was asked."""

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
        return as_image(self.colors(w)(x))

    def streamed(
        self, x: TokenStream, w: Float[Tensor, "batch w_dim"], *, keep: bool = True
    ) -> tuple[
        Float[Tensor, "batch tokens channels"] | None,
        Float[Tensor, "batch image_channels side side"],
    ]:
        """Return the image, each slice of which is colored once it is made, and all tokens.

        None for the tokens where they are not to be kept.
        """
        if self.kernels is not None and self.kernels.take(w):
            return self.kernels.colors(self, x, w, keep=keep)
        if len(x.parts) == 1:
            whole = x.gathered()
            return whole, self(whole, w)
        colors = self.colors(w)
        image = self.bias.new_empty(w.shape[0], len(self.bias), x.tokens)

        def colored(part: slice) -> Tensor:
            tokens = x.make(part)
            image[:, :, part] = colors(tokens)
            return tokens

        tokens = each(x, colored, keep=keep)
        return tokens, as_image(image)

    def colors(
        self, w: Float[Tensor, "batch w_dim"]
    ) -> Callable[[Tensor], Float[Tensor, "batch image_channels tokens"]]:
        """Return what gives tokens their colors."""
        with full_precision(w):
            style = self.affine(w.to(self.weight.dtype))
            scale = style.unsqueeze(1) * demodulation(self.weight, style).unsqueeze(2)
            weights = self.weight * scale  # [batch, image channels, channels]

        def colored(x: Tensor) -> Tensor:
            with full_precision(x):
                turned = x.to(self.weight.dtype).transpose(1, 2)
                return torch.baddbmm(self.bias.unsqueeze(1), weights, turned)

        return colored


def as_image(
    colors: Float[Tensor, "batch image_channels tokens"],
) -> Float[Tensor, "batch image_channels side side"]:
    """Return the colors of the tokens as a square."""
    side = math.isqrt(colors.shape[2])
    return colors.view(*colors.shape[:2], side, side)
