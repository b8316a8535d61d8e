"""Builds the synthetic generator: repeated products with one orthogonal matrix."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sfbench.api import BuildRequest, ModuleGenerator


class Products(nn.Module):
    """z [batch, width] -> images [batch, 3, side, side], after `count` products with a rotation."""

    def __init__(self, width: int, count: int, side: int) -> None:
        super().__init__()
        self.count = count
        self.side = side
        weight = torch.empty(width, width)
        if not weight.is_meta:
            nn.init.orthogonal_(weight)
        self.weight = nn.Parameter(weight)

    def forward(self, z: Tensor) -> Tensor:
        """Return the rotated latents, repeated over the pixels."""
        x = z
        for _ in range(self.count):
            x = x @ self.weight
        pixels = 3 * self.side**2
        repeats = -(-pixels // x.shape[1])
        return torch.tanh(x).repeat(1, repeats)[:, :pixels].view(-1, 3, self.side, self.side)


def synthetic(request: BuildRequest) -> ModuleGenerator:
    """Return the generator with round(products (1 + extra)) products."""
    options: Any = request.options
    count = round(options["products"] * (1 + options["extra"]))
    with torch.device(request.device if request.device == "meta" else "cpu"):
        module = Products(options["width"], count, request.resolution)
    return ModuleGenerator(module, request, latent_shape=(options["width"],))
