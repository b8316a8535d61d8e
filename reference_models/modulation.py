"""Weight modulation and demodulation in its cheap, exact form: scale what goes in and what comes out.

A layer with weights W modulated by styles s and demodulated computes
y_o = d_o sum_i W_oi s_i x_i, with d_o = (sum_i (W_oi s_i)^2 + eps)^(-1/2)
(Karras et al., arXiv 1912.04958, equations 1 and 3). No per-sample weights are made.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

EPSILON = 1e-8


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
