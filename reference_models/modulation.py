"""Weight modulation and demodulation in its cheap, exact form.

A layer with weights W modulated by styles s and demodulated computes
y_o = d_o sum_i W_oi s_i x_i, with d_o = (sum_i (W_oi s_i)^2 + eps)^(-1/2)
(Karras et al., arXiv 1912.04958, equations 1 and 3). What depends on the sample is a factor a
channel, which may scale what goes in, what comes out, or the weights: whatever is smallest.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

EPSILON = 1e-8
TOKENS_PER_CHANNEL = 4
"""From so many tokens a channel on, weights of each sample's own are less than its activations."""


def demodulation(
    weight: Float[Tensor, "outputs inputs"], styles: Float[Tensor, "batch inputs"]
) -> Float[Tensor, "batch outputs"]:
    """Return d_o of equation 3 for every sample."""
    return energy_demodulation(weight.square(), styles)


def energy_demodulation(
    energy: Float[Tensor, "outputs inputs"], styles: Float[Tensor, "batch inputs"]
) -> Float[Tensor, "batch outputs"]:
    """Return d_o from squared weights (of a convolution: summed over the kernel)."""
    # The large factor on the left: matrix products with few rows are slow on a CPU.
    return (energy @ styles.square().T + EPSILON).rsqrt().T


def scaled_linear(
    x: Float[Tensor, "batch tokens inputs"],
    weight: Float[Tensor, "outputs inputs"],
    scale: Float[Tensor, "batch outputs"],
) -> Float[Tensor, "batch tokens outputs"]:
    """Return y_o = scale_o sum_i W_oi x_i, scaling the weights where there are many tokens."""
    return per_sample(weight, scale, tokens=x.shape[1])(x)


def per_sample(
    weight: Float[Tensor, "outputs inputs"], scale: Float[Tensor, "batch outputs"], *, tokens: int
) -> Callable[[Tensor], Tensor]:
    """Return the function of `scaled_linear`, for that many tokens an image in all."""
    if tokens < TOKENS_PER_CHANNEL * weight.shape[1]:
        factor = scale.unsqueeze(1)
        return lambda x: F.linear(x, weight) * factor
    own = (weight * scale.unsqueeze(2)).transpose(1, 2)
    return lambda x: torch.bmm(x, own)
