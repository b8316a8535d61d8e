"""Styleformer-C: Styleformer at low resolutions, StyleGAN2 convolutions above.

The paper (arXiv 2106.07023, section 4.3) describes the combination; the authors published neither
program nor sizes, so this definition is ours: Styleformer up to `split_resolution`, its tokens
taken as a feature map without change, then StyleGAN2 skip blocks. A block's color layer is
Styleformer's (demodulated) below and StyleGAN2's above. Style vectors are consumed in order: one a
layer, and the color layer of a resolution uses the vector of the layer after it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from reference_models.noise import Noise
from reference_models.style_generator import StyleGenerator
from reference_models.styleformer import StyleformerSynthesis
from reference_models.styleformer_config import StyleformerConfig
from reference_models.stylegan2 import StyleGAN2Config, SynthesisBlock, grow
from reference_models.tokens import tokens_to_map


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StyleformerCConfig:
    """`low` ends at the split resolution; above it channels follow StyleGAN2's rule.

    Raises ValueError when `resolution` is not `low.resolution` times a power of two, 2 or more.
    """

    low: StyleformerConfig
    resolution: int
    channel_base: int = 16384
    channel_max: int = 512

    def __post_init__(self) -> None:
        """Refuse what cannot be built, saying why."""
        factor = self.resolution // self.low.resolution
        if factor < 2 or factor & (factor - 1) or self.resolution % self.low.resolution:  # noqa: PLR2004  # at least one doubling
            msg = (
                f"resolution {self.resolution} is not the split resolution "
                f"{self.low.resolution} times a power of two, 2 or more"
            )
            raise ValueError(msg)

    @property
    def high_resolutions(self) -> tuple[int, ...]:
        """The resolutions made by convolutions."""
        doublings = (self.resolution // self.low.resolution).bit_length()
        return tuple(self.low.resolution << step for step in range(1, doublings))

    @property
    def num_ws(self) -> int:
        """Number of style vectors: one a layer and one for the last color layer."""
        return sum(self.low.layers) + 2 * len(self.high_resolutions) + 1

    @property
    def high(self) -> StyleGAN2Config:
        """Sizes of the convolution blocks."""
        return StyleGAN2Config(
            resolution=1 << (self.resolution - 1).bit_length(),
            w_dim=self.low.w_dim,
            image_channels=self.low.image_channels,
            channel_base=self.channel_base,
            channel_max=self.channel_max,
            clamp=self.low.clamp,
        )


class StyleformerCSynthesis(nn.Module):
    """Style vectors [batch, num_ws, w_dim] -> images [batch, channels, R, R]."""

    def __init__(self, config: StyleformerCConfig) -> None:
        super().__init__()
        self.config = config
        self.low = StyleformerSynthesis(config.low)
        inputs = config.low.widths[-1]
        for resolution in config.high_resolutions:
            block = SynthesisBlock(config.high, resolution=resolution, inputs=inputs)
            self.add_module(f"b{resolution}", block)
            inputs = config.high.channels(resolution)

    @property
    def noise_shapes(self) -> list[tuple[int, ...]]:
        """Shape of one image's noise in each layer."""
        high = [(1, r, r) for r in self.config.high_resolutions for _ in range(2)]
        return [*self.low.noise_shapes, *high]

    @property
    def style_resolutions(self) -> list[int]:
        """Side of the layer that each used style vector enters first; the last one only colors."""
        high = [r for r in self.config.high_resolutions for _ in range(2)]
        return [*self.low.style_resolutions[:-1], *high, self.config.resolution]

    def forward(
        self, ws: Float[Tensor, "batch num_ws w_dim"], noise: Noise | Sequence[Tensor] = "const"
    ) -> Float[Tensor, "batch image_channels side side"]:
        """Return images in about [-1, 1] (not clamped); `noise` as in its two halves."""
        layers = sum(self.config.low.layers)
        low, high = (
            (noise, noise) if isinstance(noise, str | Tensor) else (noise[:layers], noise[layers:])
        )
        tokens, image = self.low.features(ws, low)
        _, image = grow(
            self,
            self.config.high_resolutions,
            tokens_to_map(tokens),
            image,
            ws[:, layers:],
            high,
        )
        return image


class StyleformerC(StyleGenerator):
    """The generator: latents [batch, z_dim] (and labels [batch, c_dim]) -> images."""

    def __init__(self, config: StyleformerCConfig) -> None:
        synthesis = StyleformerCSynthesis(config)
        super().__init__(
            config.low,
            synthesis=synthesis,
            num_ws=config.num_ws,
            noise_shapes=synthesis.noise_shapes,
            style_resolutions=synthesis.style_resolutions,
        )
        self.config = config
