"""Images of low frequencies, which survive resampling, and the numbers that augment them."""

from __future__ import annotations

import math

import torch

from reference_models import augmentation

COUNT = 6


def smooth(side: int = 32) -> torch.Tensor:
    """Return images of low frequencies, which survive resampling."""
    axis = torch.linspace(0, math.pi, side)
    waves = [
        torch.outer(torch.sin(a * axis), torch.cos(b * axis)) for a, b in ((1, 1), (2, 1), (1, 2))
    ]
    return (
        torch.stack(waves).expand(COUNT, -1, -1, -1)
        * torch.linspace(0.5, 1, COUNT)[:, None, None, None]
    )


def numbers(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    source = torch.Generator().manual_seed(seed)
    uniforms = torch.rand(COUNT, augmentation.UNIFORMS, generator=source)
    return uniforms, torch.randn(COUNT, augmentation.NORMALS, generator=source)
