"""Images as tokens and back, and fixed position codes. Tokens are in row-major order of the image."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor


def tokens_to_map(
    x: Float[Tensor, "batch tokens channels"],
) -> Float[Tensor, "batch channels side side"]:
    """Return the tokens as a square image, row-major; a view, channels last in memory."""
    side = math.isqrt(x.shape[1])
    return x.view(x.shape[0], side, side, -1).permute(0, 3, 1, 2)


def map_to_tokens(
    x: Float[Tensor, "batch channels height width"],
) -> Float[Tensor, "batch tokens channels"]:
    """Return the image as tokens, row-major."""
    return x.flatten(2).transpose(1, 2)


def sinusoidal_position_encoding(
    resolution: int, channels: int
) -> Float[Tensor, "1 tokens channels"]:
    """Return fixed sine and cosine codes: half the channels for rows, half for columns.

    Frequencies as in 1706.03762, section 3.5, applied to each axis.
    """
    per_axis = (channels + 1) // 2
    rates = torch.exp(-math.log(10_000.0) * torch.arange(0, per_axis, 2) / per_axis)
    angles = torch.arange(resolution)[:, None] * rates[None, :]
    line = torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)[:, :per_axis]
    rows = line[:, None, :].expand(-1, resolution, -1)
    columns = line[None, :, :].expand(resolution, -1, -1)
    return torch.cat([rows, columns], dim=2)[:, :, :channels].reshape(1, -1, channels)
