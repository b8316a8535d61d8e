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
    """Return images in about [-1, 1] as uint8 [count, 3, height, width] on the host."""
    return to_rgb(to_bytes(images)).cpu()


def grid(pixels: Tensor, across: int | None = None) -> np.ndarray:
    """Return uint8 images [count, 3, height, width] as one picture, near square by default.

    Every image keeps its pixels.
    """
    count, _, height, width = pixels.shape
    across = across or math.ceil(math.sqrt(count * height / width))
    down, right = height + GAP, width + GAP
    rows = math.ceil(count / across)
    canvas = np.full((rows * down - GAP, across * right - GAP, 3), 255, np.uint8)
    for index, image in enumerate(pixels.permute(0, 2, 3, 1).cpu().numpy()):
        row, column = divmod(index, across)
        top, left = row * down, column * right
        canvas[top : top + height, left : left + width] = image
    return canvas


def enlarged(pixels: Tensor) -> Tensor:
    """Return images enlarged by pixel repetition until they are large enough to see."""
    factor = max(1, math.ceil(LEAST_SIDE / pixels.shape[-1]))
    return pixels.repeat_interleave(factor, dim=-2).repeat_interleave(factor, dim=-1)


def table(
    rows: Sequence[Tensor], columns: Sequence[str] = (), names: Sequence[str] = ()
) -> Image.Image:
    """Return rows of images, uint8 [count, 3, height, width], with names of columns and of rows."""
    shown = [enlarged(row) for row in rows]
    height, width, count = *shown[0].shape[-2:], len(shown[0])
    body = Image.fromarray(grid(torch.cat(shown), across=count))
    font = ImageFont.load_default(FONT_SIZE)
    left = max((math.ceil(font.getlength(name)) + MARGIN for name in names), default=0)
    top = FONT_SIZE + MARGIN if columns else 0
    # A last name wider than its column must not be cut.
    right = max(0, math.ceil(font.getlength(columns[-1])) + GAP - width) if columns else 0
    whole = Image.new("RGB", (left + body.width + right, top + body.height), "white")
    whole.paste(body, (left, top))
    pen = ImageDraw.Draw(whole)
    for index, name in enumerate(columns):
        pen.text((left + index * (width + GAP), 0), name, "black", font)
    for index, name in enumerate(names):
        middle = top + index * (height + GAP) + (height - FONT_SIZE) // 2
        pen.text((0, middle), name, "black", font)
    return whole
