"""Batch normalization with running and with standing statistics, conditioned on classes or not.

Sources: Ioffe and Szegedy, arXiv 1502.03167; de Vries et al., arXiv 1707.00683 (conditional gains);
Brock et al., arXiv 1809.11096, appendix B and section 3 (standing statistics). In training an
image depends on its whole batch; in evaluation on stored statistics.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from reference_models.spectral_norm import SpectralLinear, SpectralNorm

MOMENTUM = 0.1

Map = Float[Tensor, "batch channels height width"]
Factors = Float[Tensor, "rows channels"]


class StandingStatistics(nn.Module):
    """Statistics that can also be summed over batches; running averages have a biased variance.

    With `standing`, training adds each batch's mean and variance to the stored sums, and evaluation
    divides these by the number of batches. The flag is not in the state dict.
    """

    stored_mean: Tensor
    stored_var: Tensor
    accumulation_counter: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("stored_mean", torch.zeros(channels))
        self.register_buffer("stored_var", torch.ones(channels))
        self.register_buffer("accumulation_counter", torch.zeros(1))
        self.standing = False

    def normalized(self, x: Map, gain: Factors, bias: Factors, eps: float) -> Map:
        """Return the map, normalized, scaled and shifted."""
        if not self.training:
            return affine(x, *self.stored(), gain, bias, eps)
        mean = x.mean(dim=(0, 2, 3))
        variance = x.square().mean(dim=(0, 2, 3)) - mean.square()
        self.add(mean.detach(), variance.detach())
        return affine(x, mean, variance, gain, bias, eps)

    def add(self, mean: Tensor, variance: Tensor) -> None:
        """Take in the statistics of a batch."""
        if self.standing:
            self.stored_mean += mean
            self.stored_var += variance
            self.accumulation_counter += 1
        else:
            self.stored_mean.lerp_(mean, MOMENTUM)
            self.stored_var.lerp_(variance, MOMENTUM)

    def stored(self) -> tuple[Tensor, Tensor]:
        """Return the stored mean and variance; of sums, over the number of batches."""
        if not self.standing:
            return self.stored_mean, self.stored_var
        count = self.accumulation_counter
        return self.stored_mean / count, self.stored_var / count

    def begin_standing(self) -> None:
        """Forget everything, and sum from now on."""
        self.standing = True
        for sums in (self.stored_mean, self.stored_var, self.accumulation_counter):
            sums.zero_()


def affine(
    x: Map,
    mean: Float[Tensor, " channels"],
    variance: Float[Tensor, " channels"],
    gain: Factors,
    bias: Factors,
    eps: float,
) -> Map:
    """Return (x - mean) / sqrt(variance + eps) * gain + bias as one product and one sum."""
    scale = torch.rsqrt(variance + eps) * gain
    shift = bias - mean * scale
    return torch.addcmul(shift[:, :, None, None], x, scale[:, :, None, None])


class Normalization(nn.Module):
    """Statistics of each channel, named as the released programs do: in `bn` where they can stand.

    Without `standing` they are running averages with an unbiased variance, as torch's.
    """

    stored_mean: Tensor
    stored_var: Tensor

    def __init__(self, channels: int, eps: float, *, standing: bool) -> None:
        super().__init__()
        self.eps = eps
        self.bn: StandingStatistics | None = None
        if standing:
            self.bn = StandingStatistics(channels)
        else:
            self.register_buffer("stored_mean", torch.zeros(channels))
            self.register_buffer("stored_var", torch.ones(channels))

    def normalized(self, x: Map, gain: Factors, bias: Factors) -> Map:
        """Return the map, normalized by its batch (training) or by what is stored, scaled, shifted."""
        if self.bn is not None:
            return self.bn.normalized(x, gain, bias, self.eps)
        if not self.training:
            return affine(x, self.stored_mean, self.stored_var, gain, bias, self.eps)
        stored = self.stored_mean, self.stored_var
        x = F.batch_norm(x, *stored, training=True, momentum=MOMENTUM, eps=self.eps)
        return torch.addcmul(bias[:, :, None, None], x, gain[:, :, None, None])


class ConditionalNorm(Normalization):
    """Gain 1 + G c and bias B c of a condition c [batch, condition]: a matrix each.

    Without a shared embedding the condition is [batch, classes], one-hot, and the matrices are tables
    [classes, channels] without a spectral norm.
    """

    def __init__(
        self,
        channels: int,
        condition: int,
        eps: float,
        norm: SpectralNorm | None,
        *,
        standing: bool,
        table: bool,
    ) -> None:
        super().__init__(channels, eps, standing=standing)
        self.gain, self.bias = (
            nn.Embedding(condition, channels)
            if table
            else SpectralLinear(norm, condition, channels, bias=False)
            for _ in range(2)
        )

    def forward(self, x: Map, condition: Float[Tensor, "batch condition"]) -> Map:
        """Return the normalized map."""
        gain, bias = (product(part, condition) for part in (self.gain, self.bias))
        return self.normalized(x, 1 + gain, bias)


def product(part: nn.Module, condition: Float[Tensor, "batch condition"]) -> Tensor:
    """Return a matrix or a table times the condition."""
    if isinstance(part, nn.Embedding):
        return condition @ part.weight
    found: Tensor = part(condition)
    return found


class PlainNorm(Normalization):
    """One learnt gain and bias for each channel."""

    def __init__(self, channels: int, eps: float, *, standing: bool) -> None:
        super().__init__(channels, eps, standing=standing)
        self.gain = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Map) -> Map:
        """Return the normalized map."""
        return self.normalized(x, self.gain[None], self.bias[None])
