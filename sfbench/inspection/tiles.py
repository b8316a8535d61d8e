"""Images side by side: grids and labeled rows, on white."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from sfbench.values.pixels import to_bytes, to_rgb

GAP = 2
LEAST_SIDE = 96
"""Smaller images are shown enlarged by a whole factor, each pixel a square."""
FONT_SIZE = 13
MARGIN = 8


def pixels_of(images: Tensor) -> Tensor:
    """Return images in about [-1, 1] as uint8 [count, 3, side, side] on the host."""
    return to_rgb(to_bytes(images)).cpu()


def grid(pixels: Tensor, across: int | None = None) -> np.ndarray:
    """Return uint8 images [count, 3, side, side] as one picture, near square by default.

    Every image keeps its pixels.
    """
    count, _, side, _ = pixels.shape
    across = across or math.ceil(math.sqrt(count))
    step = side + GAP
    height, width = math.ceil(count / across) * step - GAP, across * step - GAP
    canvas = np.full((height, width, 3), 255, np.uint8)
    for index, image in enumerate(pixels.permute(0, 2, 3, 1).cpu().numpy()):
        row, column = divmod(index, across)
        canvas[row * step : row * step + side, column * step : column * step + side] = image
    return canvas


def enlarged(pixels: Tensor) -> Tensor:
    """Return images enlarged by pixel repetition until they are large enough to see."""
    factor = max(1, math.ceil(LEAST_SIDE / pixels.shape[-1]))
    return pixels.repeat_interleave(factor, dim=-2).repeat_interleave(factor, dim=-1)


def table(
    rows: Sequence[Tensor], columns: Sequence[str] = (), names: Sequence[str] = ()
) -> Image.Image:
    """Return rows of images, uint8 [count, 3, side, side], with names of columns and of rows."""
    shown = [enlarged(row) for row in rows]
    side, count = shown[0].shape[-1], len(shown[0])
    body = Image.fromarray(grid(torch.cat(shown), across=count))
    font = ImageFont.load_default(FONT_SIZE)
    left = max((math.ceil(font.getlength(name)) + MARGIN for name in names), default=0)
    top = FONT_SIZE + MARGIN if columns else 0
    # A last name wider than its column must not be cut.
    right = max(0, math.ceil(font.getlength(columns[-1])) + GAP - side) if columns else 0
    whole = Image.new("RGB", (left + body.width + right, top + body.height), "white")
    whole.paste(body, (left, top))
    pen = ImageDraw.Draw(whole)
    for index, name in enumerate(columns):
        pen.text((left + index * (side + GAP), 0), name, "black", font)
    for index, name in enumerate(names):
        pen.text((0, top + index * (side + GAP) + (side - FONT_SIZE) // 2), name, "black", font)
    return whole
