"""Weight modulation and demodulation in its cheap, exact form.

A layer with weights W modulated by styles s and demodulated computes
y_o = d_o sum_i W_oi s_i x_i, with d_o = (sum_i (W_oi s_i)^2 + eps)^(-1/2)
(Karras et al., arXiv 1912.04958, equations 1 and 3). What depends on the sample is a factor a
channel, which may scale what goes in, what comes out, or the weights: whatever is smallest.
"""

from __future__ import annotations

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
    return (styles.square() @ energy.T + EPSILON).rsqrt()


def scaled_linear(
    x: Float[Tensor, "batch tokens inputs"],
    weight: Float[Tensor, "outputs inputs"],
    scale: Float[Tensor, "batch outputs"],
) -> Float[Tensor, "batch tokens outputs"]:
    """Return y_o = scale_o sum_i W_oi x_i, scaling the weights where there are many tokens."""
    if x.shape[1] < TOKENS_PER_CHANNEL * x.shape[2]:
        return F.linear(x, weight) * scale.unsqueeze(1)
    return batch_linear(x, weight * scale.unsqueeze(2))


def batch_linear(
    x: Float[Tensor, "batch tokens inputs"], weights: Float[Tensor, "batch outputs inputs"]
) -> Float[Tensor, "batch tokens outputs"]:
    """Return each sample's tokens times the sample's own weights."""
    return torch.bmm(x, weights.transpose(1, 2))
