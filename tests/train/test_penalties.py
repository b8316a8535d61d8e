from __future__ import annotations

import pytest
import torch
from smooth_pictures import numbers, smooth

from reference_models import augmentation, penalties


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
