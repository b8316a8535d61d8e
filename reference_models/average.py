"""The moving average of a generator's weights: the generator that is measured.

Source: Karras et al., arXiv 1710.10196 (section 6.1); half-life in images and its ramp: arXiv
2006.06676 (appendix C).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def half_life_decay(half_life: float, batch: int) -> float:
    """Return the share that is kept in a step of `batch` images; 0 for a half-life of 0."""
    return float(0.5 ** (batch / half_life)) if half_life > 0 else 0.0


@torch.no_grad()
def ema_update(average: nn.Module, source: nn.Module, decay: float) -> None:
    """Move every parameter of `average` towards `source`; copy the buffers."""
    kept: list[Tensor] = list(average.parameters())
    new: list[Tensor] = list(source.parameters())
    if decay == 0:
        torch._foreach_copy_(kept, new)
    else:
        torch._foreach_lerp_(kept, new, 1 - decay)
    for target, buffer in zip(average.buffers(), source.buffers(), strict=True):
        target.copy_(buffer)
