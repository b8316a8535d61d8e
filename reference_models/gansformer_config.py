"""Sizes of the GANsformer (Hudson and Zitnick, arXiv 2103.01209). No torch here."""

from __future__ import annotations

import dataclasses
from typing import Literal

START_RESOLUTION = 4
Integration = Literal["add", "mul", "both"]
Norm = Literal["layer", "instance"]
ImagePath = Literal["skip", "resnet", "orig"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BipartiteConfig:
    """How an attention layer of image and latents works.

    `duplex`: centroids stand for the latents when scores are computed (k-means), else keys do.
    `rounds`: of k-means. `iterative`: centroids follow the previous layer's assignments. `integration`:
    what is added to or multiplied with the features, normalized by `norm`. `latent_gate`,
    `image_gate`: attention times a gate of the latents or of the places.
    """

    heads: int = 1
    integration: Integration = "add"
    norm: Norm | None = None
    duplex: bool = False
    rounds: int = 1
    iterative: bool = False
    latent_gate: bool = False
    image_gate: bool = False
    dropout: float = 0.12


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GansformerConfig:
    """Everything that fixes a generator.

    `components`: latents that attend to places; one more, the global one, is the style. `latent_dim`:
    numbers of each. `attention`: None has only the global latent. Layers of resolutions from 2 **
    `start` to below 2 ** `end` attend. `positions`: learnt ones of the components are part of keys.
    `directions` of the sinus grid of places, `position_dim` numbers of each place. `style`: whether
    convolutions are modulated. Raises ValueError for sizes that cannot be built.
    """

    resolution: int
    components: int
    latent_dim: int
    c_dim: int = 0
    image_channels: int = 3
    mapping_layers: int = 8
    mapping_width: int | None = None
    mapping_resnet: bool = False
    mapping_attention: BipartiteConfig | None = None
    mapping_positions: bool = False
    rate_multiplier: float = 0.01
    normalize_global: bool = True
    channel_base: int = 32768
    channel_max: int = 512
    image_path: ImagePath = "skip"
    style: bool = True
    attention: BipartiteConfig | None = None
    positions: bool = False
    start: int = 0
    end: int = 20
    position_dim: int | None = None
    directions: int = 2

    def __post_init__(self) -> None:
        """Refuse what cannot be built, saying why."""
        side = self.resolution
        if side <= START_RESOLUTION or side & (side - 1):
            msg = f"resolution {side}: GANsformer needs a power of two, 8 or more"
            raise ValueError(msg)
        if (self.components > 0) != (self.attention is not None):
            msg = f"{self.components} components: expected some with attention, none without"
            raise ValueError(msg)
        if self.channels(side) < 1:
            msg = f"channel_base {self.channel_base}: no channels at {side} px; expected {side} or more"
            raise ValueError(msg)
        if self.c_dim and self.mapping_resnet:
            msg = "classes need a plain mapping network: the residual one has no room for them"
            raise ValueError(msg)
        if self.attention is not None and self.place_dim % (2 * self.directions):
            name = "latent_dim" if self.position_dim is None else "position_dim"
            msg = f"{name} {self.place_dim}: expected a multiple of {2 * self.directions}"
            raise ValueError(msg)

    @property
    def resolutions(self) -> tuple[int, ...]:
        """4, 8, ... up to the image's own."""
        steps = self.resolution.bit_length() - START_RESOLUTION.bit_length()
        return tuple(START_RESOLUTION << step for step in range(steps + 1))

    @property
    def latents(self) -> int:
        """Latents of an image: components and the global one."""
        return self.components + 1

    @property
    def place_dim(self) -> int:
        """Numbers of a place's position."""
        return self.position_dim or self.latent_dim

    @property
    def num_ws(self) -> int:
        """Style vectors: one a convolution, the last one's included, and one for the colors."""
        return 2 * len(self.resolutions) + 1

    def channels(self, resolution: int) -> int:
        """Return the number of feature channels at that resolution."""
        return min(self.channel_base // resolution, self.channel_max)

    def attends(self, resolution: int) -> bool:
        """Return whether layers of that resolution attend."""
        log = resolution.bit_length() - 1
        return self.attention is not None and self.start <= log < self.end
