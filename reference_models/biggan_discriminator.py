"""BigGAN's discriminator: residual blocks with spectral norm, and a projection of the class.

Sources: Brock et al., arXiv 1809.11096, appendix B; projection: Miyato and Koyama, arXiv 1802.05637.
"""

from __future__ import annotations

import dataclasses

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from reference_models.biggan import Attention, draw
from reference_models.biggan_config import FEWEST_ATTENDED
from reference_models.spectral_norm import (
    SpectralConv2d,
    SpectralLayer,
    SpectralLinear,
    SpectralNorm,
)

IMAGE_CHANNELS = 3
WIDTHS = {
    32: (4, 4, 4, 4),
    64: (1, 2, 4, 8, 16),
    128: (1, 2, 4, 8, 16, 16),
    256: (1, 2, 4, 8, 8, 16, 16),
}
"""Channels after each block over the base, by resolution."""
HALVINGS = {32: 2}
"""Blocks that halve the size; at other resolutions all but the last do."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BigGANDiscriminatorConfig:
    """Sizes of a discriminator; raises ValueError for a resolution that was never described."""

    resolution: int
    channels: int
    classes: int
    attention: tuple[int, ...] = ()
    spectral_eps: float = 1e-6

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        if self.resolution not in WIDTHS:
            msg = f"resolution {self.resolution}: expected {', '.join(map(str, WIDTHS))}"
            raise ValueError(msg)

    @property
    def blocks(self) -> tuple[tuple[int, int, bool, int], ...]:
        """Channels before and after each block, whether it halves, and the side after it."""
        widths = [self.channels * factor for factor in WIDTHS[self.resolution]]
        halvings = HALVINGS.get(self.resolution, len(widths) - 1)
        found, side = [], self.resolution
        for place, (before, after) in enumerate(
            zip([IMAGE_CHANNELS, *widths[:-1]], widths, strict=True)
        ):
            half = place < halvings
            side = side // 2 if half else side
            found.append((before, after, half, side))
        return tuple(found)


class DiscriminatorBlock(nn.Module):
    """Two convolutions and a shortcut; `first` takes an image, which no ReLU precedes."""

    def __init__(
        self, norm: SpectralNorm, inputs: int, outputs: int, *, half: bool, first: bool
    ) -> None:
        super().__init__()
        self.halves, self.first = half, first
        self.conv1 = SpectralConv2d(norm, inputs, outputs, 3)
        self.conv2 = SpectralConv2d(norm, outputs, outputs, 3)
        if half or inputs != outputs:
            self.conv_sc = SpectralConv2d(norm, inputs, outputs, 1)

    def forward(
        self, x: Float[Tensor, "batch inputs height width"]
    ) -> Float[Tensor, "batch outputs rows columns"]:
        """Return the features, at half the size where the block halves."""
        y = x if self.first else F.relu(x)
        y = self.conv2(F.relu(self.conv1(y)))
        past = x
        if self.halves:
            y = F.avg_pool2d(y, 2)
            # Of an image the mean is taken first: a 1x1 convolution and a mean commute.
            past = F.avg_pool2d(x, 2)
        return y + (self.conv_sc(past) if hasattr(self, "conv_sc") else past)


class BigGANDiscriminator(nn.Module):
    """Images [batch, 3, R, R] and classes [batch, classes], one-hot -> logits [batch, 1]."""

    def __init__(self, config: BigGANDiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        norm = SpectralNorm(eps=config.spectral_eps)
        parts: list[nn.Module] = []
        for place, (before, after, half, side) in enumerate(config.blocks):
            parts.append(DiscriminatorBlock(norm, before, after, half=half, first=place == 0))
            if side in config.attention and after >= FEWEST_ATTENDED:
                parts.append(Attention(norm, after))
        self.blocks = nn.Sequential(*parts)
        self.linear = SpectralLinear(norm, after, 1)
        self.embed = SpectralLinear(norm, config.classes, after, bias=False)

    def forward(
        self,
        images: Float[Tensor, "batch 3 side side"],
        c: Float[Tensor, "batch classes"],
    ) -> Float[Tensor, "batch 1"]:
        """Return the logits."""
        h = F.relu(self.blocks(images)).sum(dim=(2, 3))
        logits: Tensor = self.linear(h) + (self.embed(c) * h).sum(dim=1, keepdim=True)
        return logits

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draw orthogonal weights; biases start at 0."""
        for layer in self.modules():
            if isinstance(layer, SpectralLayer):
                draw(layer.weight, "orthogonal", generator)
                layer.reset_estimate(generator)
                if layer.bias is not None:
                    layer.bias.data.zero_()
