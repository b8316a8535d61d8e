"""What every generator of the StyleGAN family shares: a mapping network, then a synthesis network.

Source: Karras et al., "A Style-Based Generator Architecture" (arXiv 1812.04948, figure 1b).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reference_models.mapping import MappingNetwork, broadcast_styles
from reference_models.noise import Noise, draw_noise


@runtime_checkable
class LatentSizes(Protocol):
    """The fields of a configuration that fix its mapping network."""

    @property
    def z_dim(self) -> int:
        """Width of the latent."""

    @property
    def c_dim(self) -> int:
        """Number of classes; 0 for none."""

    @property
    def w_dim(self) -> int:
        """Width of a style vector."""

    @property
    def mapping_layers(self) -> int:
        """Number of fully connected layers."""

    @property
    def embed_features(self) -> int | None:
        """Width of the label's embedding; None for that of a style vector."""

    @property
    def layer_features(self) -> int | None:
        """Width between layers; None for that of a style vector."""


class StyleGenerator(nn.Module):
    """Latents [batch, z_dim] (and labels [batch, c_dim]) -> images [batch, channels, R, R].

    `style_resolutions` holds, for each style vector that is used, the side of the layer it enters
    first; the vector of a resolution's first layer also colors the image of the one before, and
    the last vector colors the last image. Vectors beyond them (up to `num_ws`) enter nothing.
    """

    weights_read: tuple[str, ...] = ()
    """What was taken off a file of weights to get its tensors."""

    def __init__(
        self,
        sizes: LatentSizes,
        *,
        synthesis: nn.Module,
        num_ws: int,
        noise_shapes: Sequence[tuple[int, ...]],
        style_resolutions: Sequence[int],
    ) -> None:
        super().__init__()
        self.synthesis = synthesis
        self.mapping = MappingNetwork(
            z_dim=sizes.z_dim,
            c_dim=sizes.c_dim,
            w_dim=sizes.w_dim,
            layers=sizes.mapping_layers,
            embed_features=sizes.embed_features,
            layer_features=sizes.layer_features,
        )
        self.num_ws = num_ws
        self.noise_shapes = tuple(noise_shapes)
        self.style_resolutions = tuple(style_resolutions)

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Shape of one image's z."""
        return (self.mapping.z_dim,)

    def mapped(
        self, z: Float[Tensor, "batch z_dim"], c: Float[Tensor, "batch c_dim"] | None
    ) -> Float[Tensor, "batch w_dim"]:
        """Return the style of each image."""
        return self.mapping(z, c)  # type: ignore[no-any-return]  # nn.Module.__call__

    def spread(self, w: Float[Tensor, "batch w_dim"]) -> Float[Tensor, "batch num_ws w_dim"]:
        """Return a style for every layer, untruncated."""
        return broadcast_styles(w, self.num_ws)

    def synthesized(
        self, ws: Float[Tensor, "batch num_ws w_dim"], noise: Noise | Sequence[Tensor]
    ) -> Float[Tensor, "batch image_channels side side"]:
        """Return the images of styles."""
        return self.synthesis(ws, noise)  # type: ignore[no-any-return]  # nn.Module.__call__

    def draw_noise(self, generators: Sequence[torch.Generator]) -> list[Tensor]:
        """Return one noise tensor a layer; row i comes from `generators[i]` alone."""
        return draw_noise(self.noise_shapes, generators)

    def forward(
        self,
        z: Float[Tensor, "batch z_dim"],
        c: Float[Tensor, "batch c_dim"] | None = None,
        *,
        noise: Noise | Sequence[Tensor] = "const",
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
    ) -> Float[Tensor, "batch image_channels side side"]:
        """Return images in about [-1, 1] (not clamped to it).

        `noise`: "const" (the stored maps), "none", or one tensor a layer from `draw_noise`.
        """
        ws = broadcast_styles(
            self.mapping(z, c),
            self.num_ws,
            w_avg=self.mapping.w_avg,
            truncation_psi=truncation_psi,
            truncation_cutoff=truncation_cutoff,
        )
        return self.synthesis(ws, noise)  # type: ignore[no-any-return]  # nn.Module.__call__
