"""Layers whose weights are divided by their largest singular value, estimated by power iteration.

Source: Miyato et al., "Spectral Normalization for Generative Adversarial Networks" (arXiv
1802.05957), as BigGAN's authors compute it: one step from the stored vector at every call, in
evaluation too, where nothing is stored.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from reference_models import winograd
from reference_models.doubling import convolve_doubled, doubled

WINOGRAD_CHANNELS = 192
"""From so many channels on tiles pay where a few images are convolved at once."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SpectralNorm:
    """How weights are divided: `singular_values`: buffers kept, of which the first alone counts."""

    eps: float
    singular_values: int = 1
    iterations: int = 1


class SpectralLayer(nn.Module):
    """A weight [outputs, ...], and the estimate of its left singular vector in `u0` [1, outputs].

    Without a norm the weight is used as it is. `fold` puts the divided weight in the weight's place.
    """

    weight: nn.Parameter
    u0: Tensor
    sv0: Tensor

    def __init__(self, norm: SpectralNorm | None, shape: tuple[int, ...], *, bias: bool) -> None:
        super().__init__()
        self.norm = norm
        self.weight = nn.Parameter(torch.empty(shape))
        self.bias = nn.Parameter(torch.empty(shape[0])) if bias else None
        for number in range(0 if norm is None else norm.singular_values):
            self.register_buffer(f"u{number}", torch.empty(1, shape[0]))
            self.register_buffer(f"sv{number}", torch.empty(1))

    def used(self) -> Tensor:
        """Return the weight that the layer multiplies with; in training its estimate makes a step."""
        if self.norm is None:
            return self.weight
        return self.weight / self.largest(self.norm)

    def largest(self, norm: SpectralNorm) -> Float[Tensor, ""]:
        """Return the estimate of the largest singular value, whose vectors count as constants."""
        matrix = self.weight.flatten(1)
        with torch.no_grad():
            u = self.u0
            for _ in range(norm.iterations if self.training else 1):
                v = unit(u @ matrix, norm.eps)
                u = unit(v @ matrix.T, norm.eps)
        sigma: Tensor = (v @ matrix.T @ u.T).squeeze()
        if self.training:
            with torch.no_grad():
                self.u0.copy_(u)
                self.sv0.fill_(sigma.detach())
        return sigma

    def fold(self) -> None:
        """Put the divided weight in the weight's place, for good: for layers that learn no more."""
        self.eval()
        with torch.no_grad():
            self.weight.copy_(self.used())
        self.norm = None

    def reset_estimate(self, generator: torch.Generator) -> None:
        """Draw the vectors of the estimate from N(0, 1)."""
        for name, buffer in self.named_buffers(recurse=False):
            if name.startswith("u"):
                buffer.normal_(generator=generator)
            else:
                buffer.fill_(1.0)


def unit(x: Float[Tensor, "1 n"], eps: float) -> Float[Tensor, "1 n"]:
    """Return the vector over its length, which is at least eps."""
    found: Tensor = x / torch.linalg.vector_norm(x).clamp(min=eps)
    return found


class SpectralConv2d(SpectralLayer):
    """Convolution that keeps the size."""

    def __init__(
        self,
        norm: SpectralNorm | None,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(norm, (outputs, inputs, kernel, kernel), bias=bias)
        self.padding = kernel // 2

    def forward(
        self, x: Float[Tensor, "batch inputs height width"]
    ) -> Float[Tensor, "batch outputs height width"]:
        """Return the correlation, with zeros around."""
        weight = self.used()
        wide = min(weight.shape[:2]) >= WINOGRAD_CHANNELS
        if self.padding and wide and winograd.pays(x, len(weight)):
            y = winograd.convolution(x, weight)
            return y if self.bias is None else y + self.bias[:, None, None]
        return F.conv2d(x, weight, self.bias, padding=self.padding)

    def of_doubled(
        self, x: Float[Tensor, "batch inputs height width"]
    ) -> Float[Tensor, "batch outputs double_height double_width"]:
        """Return the correlation of the map at twice the size, each pixel repeated.

        In training it is done as written, since batch statistics would magnify another rounding; on
        the meta device, too, where operations are counted.
        """
        if self.training or x.is_meta:
            return self(doubled(x))  # type: ignore[no-any-return]  # nn.Module.__call__
        if not self.padding:  # a 1x1 convolution and doubling commute
            return doubled(self(x))
        return convolve_doubled(x, self.used(), self.bias)


class SpectralLinear(SpectralLayer):
    """Matrix product."""

    def __init__(
        self, norm: SpectralNorm | None, inputs: int, outputs: int, *, bias: bool = True
    ) -> None:
        super().__init__(norm, (outputs, inputs), bias=bias)

    def forward(self, x: Float[Tensor, "batch inputs"]) -> Float[Tensor, "batch outputs"]:
        """Return the product."""
        return F.linear(x, self.used(), self.bias)


def folded(module: Any) -> Any:
    """Return the module after all its spectral norms were folded into the weights."""
    for layer in module.modules():
        if isinstance(layer, SpectralLayer):
            layer.fold()
    return module
