"""Per-pixel noise of the StyleGAN family (arXiv 1812.04948, section 2): const, none, or drawn.

"const" adds each layer's stored map, "none" adds nothing, and a tensor is added as it is: the
caller draws it, so that the noise of an image can depend on that image's seed alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

Noise = Literal["const", "none"] | Tensor


def layer_noise(
    noise: Noise, stored: Float[Tensor, "..."], strength: Float[Tensor, ""]
) -> Float[Tensor, "..."] | None:
    """Return what a layer adds to its activations: noise times strength, or None for "none"."""
    if isinstance(noise, Tensor):
        return noise * strength
    if noise == "const":
        return stored * strength
    return None


def draw_noise(
    shapes: Sequence[tuple[int, ...]], generators: Sequence[torch.Generator]
) -> list[Float[Tensor, "batch ..."]]:
    """Return one N(0, 1) tensor a layer; row i comes from `generators[i]` alone."""
    rows = [[torch.randn(shape, generator=g) for shape in shapes] for g in generators]
    return [torch.stack(layer) for layer in zip(*rows, strict=True)]
