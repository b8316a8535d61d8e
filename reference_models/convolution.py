"""Convolution with an equalized learning rate, optional resampling and leaky ReLU.

Source: Karras et al., arXiv 1710.10196 (section 4.1) and arXiv 1912.04958 (appendix B).
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from reference_models import winograd
from reference_models.activation import leaky_relu
from reference_models.resampling import conv2d_down, conv2d_up

Resample = Literal["none", "up", "down"]


class EqualizedConv2d(winograd.Convolving, nn.Module):
    """k x k convolution (k 1 or 3) with weights scaled by 1/sqrt(inputs k^2).

    `activate` adds a bias and leaky ReLU times sqrt(2); `gain` and `clamp` act on the result.
    """

    def __init__(  # the layer's own facts
        self,
        inputs: int,
        outputs: int,
        *,
        kernel: Literal[1, 3],
        resample: Resample = "none",
        activate: bool = False,
        gain: float = 1.0,
        clamp: float | None = None,
    ) -> None:
        super().__init__()
        self.resample = resample
        self.activate = activate
        self.gain = gain
        self.clamp = None if clamp is None else clamp * gain
        self.weight = nn.Parameter(torch.empty(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.empty(outputs)) if activate else None

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draw the weights from N(0, 1); the bias starts at 0."""
        self.weight.data.normal_(generator=generator)
        if self.bias is not None:
            self.bias.data.zero_()

    def forward(
        self, x: Float[Tensor, "batch inputs height width"]
    ) -> Float[Tensor, "batch outputs new_height new_width"]:
        """Return the feature map, at twice or half the size when the layer resamples."""
        weight = self.weight / math.sqrt(self.weight[0].numel())
        match self.resample:
            case "up":
                y = conv2d_up(x, weight)
            case "down":
                y = conv2d_down(x, weight, self.convolutions)
            case "none":
                wide = weight.shape[-1] == 3  # noqa: PLR2004  # or a single pixel
                y = (
                    winograd.convolution(x, weight, self.convolutions)
                    if wide
                    else F.conv2d(x, weight)
                )
        if self.bias is None:
            return y * self.gain
        return leaky_relu(
            y + self.bias[:, None, None], gain=math.sqrt(2) * self.gain, clamp=self.clamp
        )
