"""The GANsformer's mapping network: latents to styles, between which components attend to each other.

Source: Hudson and Zitnick, arXiv 2103.01209, as the authors' PyTorch program computes it.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from reference_models.bipartite_attention import BipartiteAttention
from reference_models.equalized import EqualizedLinear
from reference_models.gansformer_config import GansformerConfig
from reference_models.mapping import W_AVERAGE_DECAY

LATENT_EPSILON = 1e-8


class ResidualLayer(nn.Module):
    """Two layers of the mapping network, and what goes past them."""

    def __init__(self, inputs: int, outputs: int, rate: float) -> None:
        super().__init__()
        self.fc0 = EqualizedLinear(inputs, outputs, rate_multiplier=rate, activation="leaky_relu")
        self.fc1 = EqualizedLinear(outputs, outputs, rate_multiplier=rate)

    def forward(
        self, x: Float[Tensor, "rows inputs"], past: Float[Tensor, "rows outputs"]
    ) -> Float[Tensor, "rows outputs"]:
        """Return the sum, activated without a gain."""
        return F.leaky_relu(self.fc1(self.fc0(x)) + past, 0.2)


class MappingMLP(nn.Module):
    """Latents [batch, rows, width] -> styles; components attend to each other before every stage."""

    def __init__(self, config: GansformerConfig, inputs: int, *, attends: bool) -> None:
        super().__init__()
        rate, layers = config.rate_multiplier, config.mapping_layers
        width = config.mapping_width or config.latent_dim
        self.residual = config.mapping_resnet
        sizes = [inputs, *[width] * (layers - 1), config.latent_dim]
        self.stages = (layers + 1) // 2 if self.residual else layers
        self.out_layer = EqualizedLinear(
            config.latent_dim, config.latent_dim, rate_multiplier=rate, activation="leaky_relu"
        )
        for stage in range(self.stages):
            size = sizes[2 * stage] if self.residual else sizes[stage]
            after = sizes[min(2 * stage + 2, layers)] if self.residual else sizes[stage + 1]
            if attends and config.mapping_attention is not None:
                attention = BipartiteAttention(
                    config.mapping_attention,
                    channels=size,
                    to_dim=size,
                    from_pos_dim=size,
                    to_pos_dim=size,
                    latents=config.components,
                )
                self.add_module(f"sa{stage}", attention)
            layer = (
                ResidualLayer(size, after, rate)
                if self.residual
                else EqualizedLinear(size, after, rate_multiplier=rate, activation="leaky_relu")
            )
            self.add_module(f"l{stage}", layer)

    def forward(
        self,
        x: Float[Tensor, "batch rows inputs"],
        positions: Float[Tensor, "rows position_dim"] | None = None,
    ) -> Float[Tensor, "batch rows width"]:
        """Return the styles of each row."""
        batch, rows = x.shape[:2]
        for stage in range(self.stages):
            past = x
            if hasattr(self, f"sa{stage}"):
                x = self.get_submodule(f"sa{stage}")(x, x, positions, positions).x
            layer = self.get_submodule(f"l{stage}")
            flat = x.flatten(0, 1)
            flat = layer(flat, past.flatten(0, 1)) if self.residual else layer(flat)
            x = flat.view(batch, rows, -1)
        found: Tensor = self.out_layer(x.flatten(0, 1))
        return found.view(batch, rows, -1)


class GansformerMapping(nn.Module):
    """z [batch, latents, width] -> w of the same shape; the last latent is the global one."""

    w_avg: Tensor

    def __init__(self, config: GansformerConfig) -> None:
        super().__init__()
        self.config = config
        self.z_dim, self.c_dim = config.latent_dim, config.c_dim
        self.register_buffer("w_avg", torch.zeros(config.latent_dim))
        if config.c_dim:
            self.embed = EqualizedLinear(config.c_dim, config.latent_dim)
        inputs = config.latent_dim * (2 if config.c_dim else 1)
        self.global_mlp = MappingMLP(config, inputs, attends=False)
        if config.components:
            self.mlp = MappingMLP(config, config.latent_dim, attends=True)

    def forward(
        self,
        z: Float[Tensor, "batch latents width"],
        c: Float[Tensor, "batch classes"] | None,
        positions: Float[Tensor, "components width"] | None,
    ) -> Float[Tensor, "batch latents width"]:
        """Return the style vectors; in training mode also move their running mean."""
        count = self.config.components
        whole = z[:, count:]
        if self.config.normalize_global:
            whole = unit(whole)
        if self.c_dim:
            if c is None:
                msg = (
                    f"this model is class-conditional: c must be given, shape [batch, {self.c_dim}]"
                )
                raise ValueError(msg)
            whole = torch.cat([whole, unit(self.embed(c).unsqueeze(1))], dim=2)
        parts = [self.global_mlp(whole)]
        if count:
            used = positions if self.config.mapping_positions else None
            parts.insert(0, self.mlp(unit(z[:, :count]), used))
        w = torch.cat(parts, dim=1)
        if self.training:
            self.w_avg.copy_(w.detach().mean(dim=(0, 1)).lerp(self.w_avg, W_AVERAGE_DECAY))
        return w


def unit(x: Float[Tensor, "batch rows width"]) -> Float[Tensor, "batch rows width"]:
    """Return all rows of a sample over their joint root mean square."""
    return x * (x.square().mean(dim=(1, 2), keepdim=True) + LATENT_EPSILON).rsqrt()
