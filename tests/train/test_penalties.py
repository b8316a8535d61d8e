from __future__ import annotations

import math

import pytest
import torch

from reference_models import augmentation, penalties

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


def test_penalties_go_through_augmentation_to_the_images_and_the_weights() -> None:
    weight = torch.randn(3, generator=torch.Generator().manual_seed(1), requires_grad=True)

    def score(x: torch.Tensor) -> torch.Tensor:
        moved = augmentation.adaptive_augment(x, *numbers(), torch.tensor(0.8))
        return (moved.square() * weight[:, None, None]).sum(dim=(1, 2, 3), keepdim=True).flatten(1)

    squares, _ = penalties.squared_gradient(score, smooth())
    (slope,) = torch.autograd.grad(squares.mean(), weight)
    for channel in range(3):
        step = torch.zeros(3)
        step[channel] = 1e-3
        ends = []
        for sign in (1, -1):
            with torch.no_grad():
                weight += sign * step
            ends.append(penalties.squared_gradient(score, smooth())[0].mean().item())
            with torch.no_grad():
                weight -= sign * step
        assert (ends[0] - ends[1]) / 2e-3 == pytest.approx(slope[channel].item(), rel=1e-2)
