"""DiffAugment: three augmentations of every image that the discriminator sees.

Source: Zhao et al., "Differentiable Augmentation for Data-Efficient GAN Training" (arXiv 2006.10738,
section 4): color, translation by up to an eighth, cutout of half the side.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

UNIFORMS = 7
"""Uniform numbers an image takes."""
TRANSLATION = 0.125
CUTOUT = 0.5


def diff_augment(
    images: Float[Tensor, "batch channels side side"], uniforms: Float[Tensor, "batch 7"]
) -> Float[Tensor, "batch channels side side"]:
    """Return the images augmented; `uniforms` in [0, 1) decide how."""
    columns = [uniforms[:, i, None, None, None] for i in range(3)]
    x = colored(images, *columns)
    x = translated(x, uniforms[:, 3], uniforms[:, 4])
    return cut_out(x, uniforms[:, 5], uniforms[:, 6])


def colored(x: Tensor, brightness: Tensor, saturation: Tensor, contrast: Tensor) -> Tensor:
    """Return x + b with b in [-1/2, 1/2), saturation times [0, 2), contrast times [1/2, 3/2)."""
    x = x + brightness - 0.5
    gray = x.mean(dim=1, keepdim=True)
    x = (x - gray) * (2 * saturation) + gray
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    return (x - mean) * (contrast + 0.5) + mean


def translated(x: Tensor, horizontal: Tensor, vertical: Tensor) -> Tensor:
    """Return each image moved by whole pixels, up to an eighth of its side; zeros come in."""
    side = x.shape[3]
    reach = int(side * TRANSLATION + 0.5)
    rows, columns = ((number * (2 * reach + 1)).long() - reach for number in (vertical, horizontal))
    place = torch.arange(side, device=x.device)
    y = place[None, :] - rows[:, None]
    z = place[None, :] - columns[:, None]
    inside = ((y >= 0) & (y < side))[:, :, None] & ((z >= 0) & (z < side))[:, None, :]
    moved = x.gather(2, y.clamp(0, side - 1)[:, None, :, None].expand(x.shape))
    moved = moved.gather(3, z.clamp(0, side - 1)[:, None, None, :].expand(x.shape))
    return moved * inside.unsqueeze(1)


def cut_out(x: Tensor, horizontal: Tensor, vertical: Tensor) -> Tensor:
    """Return each image with a square of half its side set to zero, its center anywhere."""
    side = x.shape[3]
    size = int(side * CUTOUT + 0.5)
    place = torch.arange(side, device=x.device)

    def covered(number: Tensor) -> Tensor:
        start = (number * (side + (1 - size % 2))).long() - size // 2
        return (place >= start[:, None]) & (place < start[:, None] + size)

    hole = covered(vertical)[:, :, None] & covered(horizontal)[:, None, :]
    return x * ~hole.unsqueeze(1)
