"""The one place where floats become bytes, and bytes floats."""

from __future__ import annotations

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

QUANTISATION = "round((x + 1) * 127.5), clamped to 0..255"


def to_bytes(
    images: Float[Tensor, "batch channels height width"],
) -> UInt8[Tensor, "batch channels height width"]:
    """Return images in [-1, 1] as uint8: rounded to the nearest of 256 levels, clamped."""
    levels = (images.float() + 1) * 127.5
    return levels.round().clamp(0, 255).to(torch.uint8)


def to_rgb(
    pixels: UInt8[Tensor, "batch channels height width"],
) -> UInt8[Tensor, "batch 3 height width"]:
    """Return the images with three channels; a single channel is repeated."""
    return pixels.expand(-1, 3, -1, -1) if pixels.shape[1] == 1 else pixels
