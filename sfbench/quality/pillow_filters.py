"""Pillow's resampling filters as matrices, for its resizing of float channels (mode F)."""

from __future__ import annotations

import functools
import math
from typing import Literal

import torch
from torch import Tensor

Filter = Literal["box", "bilinear", "lanczos"]
SUPPORT: dict[Filter, float] = {"box": 0.5, "bilinear": 1.0, "lanczos": 3.0}
"""Half the width of a filter, in source pixels, where an image is enlarged."""


@functools.lru_cache(maxsize=16)
def weights(name: Filter, count: int, side: int) -> Tensor:
    """Return what each of `count` source pixels contributes to each of `side`: [side, count], float64.

    A filter is stretched over the source where an image is reduced, and cut off at its edges; the
    weights of a pixel sum to 1.
    """
    scale = count / side
    stretch = max(scale, 1.0)
    reach = SUPPORT[name] * stretch
    found = torch.zeros(side, count, dtype=torch.float64)
    for place in range(side):
        center = (place + 0.5) * scale
        first, last = max(int(center - reach + 0.5), 0), min(int(center + reach + 0.5), count)
        for source in range(first, last):
            found[place, source] = response(name, (source - center + 0.5) / stretch)
    return found / found.sum(dim=1, keepdim=True)


def response(name: Filter, x: float) -> float:
    """Return a filter's value at a distance of x source pixels."""
    if name == "box":
        return float(-0.5 < x <= 0.5)  # noqa: PLR2004  # half a pixel
    if name == "bilinear":
        return max(1 - abs(x), 0.0)
    return sinc(x) * sinc(x / 3) if -3 <= x < 3 else 0.0  # noqa: PLR2004  # three lobes


def sinc(x: float) -> float:
    """Return sin(pi x) / (pi x)."""
    return math.sin(math.pi * x) / (math.pi * x) if x else 1.0


def resized_by(images: Tensor, side: int, name: Filter) -> Tensor:
    """Return images [batch, channels, h, w] resized to side x side, cut to 0..255, float32.

    Rows first, rounded to float32 between the passes, as Pillow does: equal to it but for the last bit.
    """
    found = images.float()
    for axis in (3, 2):
        count = found.shape[axis]
        if count == side:
            continue
        matrix = weights(name, count, side).to(found.device)
        wide = found.double()
        found = (wide @ matrix.T if axis == 3 else matrix @ wide).float()  # noqa: PLR2004  # width
    return found.clamp(0, 255)
