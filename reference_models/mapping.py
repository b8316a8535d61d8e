"""The mapping network of the StyleGAN family: a latent (and a class label) to style vectors.

Source: Karras et al., "A Style-Based Generator Architecture" (arXiv 1812.04948, section 2) and
"Training GANs with Limited Data" (arXiv 2006.06676); truncation trick: 1812.04948, appendix B.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reference_models.equalized import EqualizedLinear

W_AVERAGE_DECAY = 0.995
MAPPING_RATE_MULTIPLIER = 0.01


def normalize_second_moment(x: Float[Tensor, "batch features"]) -> Float[Tensor, "batch features"]:
    """Return `x` with each row scaled to mean square 1 (1812.04948; epsilon 1e-8)."""
    return x * (x.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()


class MappingNetwork(nn.Module):
    """z [batch, z_dim], c [batch, c_dim] -> w [batch, w_dim], with a running mean of w.

    With `z_dim=0` it maps the label alone (the discriminator's use) and keeps no mean.
    """

    w_avg: Tensor

    def __init__(
        self,
        *,
        z_dim: int,
        c_dim: int,
        w_dim: int,
        layers: int,
        embed_features: int | None = None,
        layer_features: int | None = None,
    ) -> None:
        super().__init__()
        embedding = (embed_features or w_dim) if c_dim else 0
        hidden = layer_features or w_dim
        widths = [z_dim + embedding, *[hidden] * (layers - 1), w_dim]
        self.z_dim, self.c_dim, self.w_dim, self.layers = z_dim, c_dim, w_dim, layers
        if z_dim:
            self.register_buffer("w_avg", torch.zeros(w_dim))
        if c_dim:
            self.embed = EqualizedLinear(c_dim, embedding)
        for index in range(layers):
            layer = EqualizedLinear(
                widths[index],
                widths[index + 1],
                rate_multiplier=MAPPING_RATE_MULTIPLIER,
                activation="leaky_relu",
            )
            self.add_module(f"fc{index}", layer)

    def forward(
        self,
        z: Float[Tensor, "batch z_dim"] | None,
        c: Float[Tensor, "batch c_dim"] | None = None,
    ) -> Float[Tensor, "batch w_dim"]:
        """Return the style vectors; in training mode also move the running mean of w."""
        parts = []
        if z is not None and self.z_dim:
            parts.append(normalize_second_moment(z))
        if self.c_dim:
            if c is None:
                msg = (
                    f"this model is class-conditional: c must be given, shape [batch, {self.c_dim}]"
                )
                raise ValueError(msg)
            parts.append(normalize_second_moment(self.embed(c)))
        x = torch.cat(parts, dim=1)
        for index in range(self.layers):
            x = self.get_submodule(f"fc{index}")(x)
        if self.training and self.z_dim:
            self.w_avg.copy_(x.detach().mean(dim=0).lerp(self.w_avg, W_AVERAGE_DECAY))
        return x


def broadcast_styles(
    w: Float[Tensor, "batch w_dim"],
    count: int,
    *,
    w_avg: Float[Tensor, " w_dim"] | None = None,
    truncation_psi: float = 1.0,
    truncation_cutoff: int | None = None,
) -> Float[Tensor, "batch count w_dim"]:
    """Return `count` copies of each w, the first `truncation_cutoff` of them pulled towards `w_avg`.

    w' = w_avg + psi (w - w_avg) (1812.04948, appendix B); no cutoff means all of them.
    """
    ws = w.unsqueeze(1).repeat(1, count, 1)
    if truncation_psi != 1 and w_avg is not None:
        cutoff = count if truncation_cutoff is None else truncation_cutoff
        ws[:, :cutoff] = w_avg.lerp(ws[:, :cutoff], truncation_psi)
    return ws
