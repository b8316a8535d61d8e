"""The order in which the kernels read matrices: panels of 16 columns, one after the other."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

PANEL = 16


def pack(
    matrices: Float[Tensor, "*count depth columns"],
) -> Float[Tensor, "*count panels depth 16"]:
    """Return matrices whose columns are a multiple of 16, in panels."""
    panels = matrices.reshape(*matrices.shape[:-1], matrices.shape[-1] // PANEL, PANEL)
    return panels.movedim(-2, -3).contiguous()
