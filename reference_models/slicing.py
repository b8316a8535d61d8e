"""What a CPU does slice by slice, because slices stay in its cache and large temporaries do not.

With a gradient everything is kept anyway, and compilers and GPUs want large pieces: they get the
whole. The numbers are the same but for rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

BATCH_TOKENS = 8192
"""Tokens of a batch that keep matrix products fast; more images at once only take memory."""


def at_once(x: Tensor) -> bool:
    """Return whether to work on everything at once."""
    return torch.is_grad_enabled() or torch.compiler.is_compiling() or not x.is_cpu


def image_slices(
    x: Float[Tensor, "batch ..."], tokens: int, together: int = BATCH_TOKENS
) -> list[slice]:
    """Return the slices of the batch to work on one after the other, `together` tokens in each."""
    return [slice(None)] if at_once(x) else slices(x.shape[0], max(1, together // tokens))


def slices(length: int, step: int) -> list[slice]:
    """Return the slices of that many, `step` at a time."""
    return [slice(start, start + step) for start in range(0, length, step)]


def by_slices(
    function: Callable[[slice], Tensor],
    parts: Sequence[slice],
    *,
    dim: int,
    length: int | torch.SymInt,
) -> Tensor:
    """Return function(slice) of all slices as one tensor, `length` long along `dim`.

    `length` is a symbol while the model is exported.

    Maps [batch, channels, height, width] come out channels last where there are several slices.
    """
    if len(parts) == 1:
        return function(parts[0])
    whole: Tensor | None = None
    for part in parts:
        piece = function(part)
        if whole is None:
            shape = (*piece.shape[:dim], length, *piece.shape[dim + 1 :])
            maps = piece.ndim == 4  # noqa: PLR2004  # batch, channels, height, width
            layout = torch.channels_last if maps else torch.contiguous_format
            whole = torch.empty(shape, dtype=piece.dtype, memory_format=layout)
        whole[(slice(None),) * dim + (part,)] = piece
    if whole is None:
        msg = "there is nothing to work on"
        raise ValueError(msg)
    return whole
