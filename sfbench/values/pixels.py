"""The only place where floats become bytes, and bytes floats."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float, Shaped, UInt8
from torch import Tensor

Images = Float[Tensor, "*batch channels height width"]
Bytes = UInt8[Tensor, "*batch channels height width"]


def to_bytes(images: Images) -> Bytes:
    """Return images in [-1, 1] as uint8: rounded to the nearest of 256 levels, clamped."""
    levels = (images.float() + 1) * 127.5
    return levels.round().clamp(0, 255).to(torch.uint8)


def from_bytes(pixels: Bytes) -> Images:
    """Return uint8 images as float32 in [-1, 1]: x / 127.5 - 1."""
    return pixels.to(torch.float32) / 127.5 - 1


def to_bytes_by_128(images: Images) -> Bytes:
    """Return images as uint8 as the StyleGAN family does: x 127.5 + 128, clamped, truncated."""
    return (images.float() * 127.5 + 128).clamp(0, 255).to(torch.uint8)


def to_bytes_truncated(images: Images) -> Bytes:
    """Return images as uint8 as torchmetrics does with normalize=True: x in 0..1, truncated."""
    return ((images.float() + 1) / 2 * 255).clamp(0, 255).to(torch.uint8)


def to_bytes_half_up(images: Images) -> Bytes:
    """Return images as uint8 as StudioGAN does: x in 0..1, times 255, plus 0.5, truncated."""
    return ((images.float() + 1) / 2 * 255 + 0.5).clamp(0, 255).to(torch.uint8)


def to_levels(images: Images) -> Images:
    """Return images in 0..255 without rounding, clamped (clean-fid's generators)."""
    return ((images.float() + 1) * 127.5).clamp(0, 255)


QUANTIZERS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "round": to_bytes,
    "by-128": to_bytes_by_128,
    "truncate": to_bytes_truncated,
    "half-up": to_bytes_half_up,
    "none": to_levels,
}


def to_rgb(
    pixels: Shaped[Tensor, "*batch channels height width"],
) -> Shaped[Tensor, "*batch 3 height width"]:
    """Return the images with three channels; a single channel is repeated."""
    return pixels.expand(*pixels.shape[:-3], 3, -1, -1) if pixels.shape[-3] == 1 else pixels
