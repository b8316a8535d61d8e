"""Converts any image, as bytes or pixels, to square 8-bit RGB of one size, or rejects it."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sfbench.api.errors import first_line
from sfbench.api.image_files import open_image
from sfbench.api.images import to_rgb, upright
from sfbench.data.item import Item

Crop = Literal["center", "squash", "none"]
Filter = Literal["lanczos", "box", "bicubic"]
Alpha = Literal["error", "white", "black", "drop"]
FILTERS = {
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
    "bicubic": Image.Resampling.BICUBIC,
}
TRANSPARENT = frozenset({"RGBA", "LA", "PA", "La", "RGBa"})


class RejectedImageError(Exception):
    """An image that cannot be used, and why."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """How images are converted to one size, `resolution` pixels per side."""

    resolution: int
    crop: Crop = "center"
    filter: Filter = "lanczos"
    alpha: Alpha = "error"

    def pixels(self, item: Item) -> tuple[NDArray[np.uint8], str | None]:
        """Return pixels [3, side, side], and a note of any conversion that may matter.

        Raises RejectedImageError.
        """
        if item.problem is not None:
            raise RejectedImageError(item.problem)
        image, turned = opened(item.content)
        image, note = self.opaque(image)
        note = note or turned
        try:
            rgb, converted = to_rgb(image)
        except ValueError as error:
            raise RejectedImageError(str(error)) from None
        square = self.square(rgb)
        side = (self.resolution, self.resolution)
        if square.size != side:
            square = square.resize(side, FILTERS[self.filter])
        return np.asarray(square).transpose(2, 0, 1), note or converted

    def opaque(self, image: Image.Image) -> tuple[Image.Image, str | None]:
        """Return the image without transparency, as configured."""
        if image.mode not in TRANSPARENT and "transparency" not in image.info:
            return image, None
        rgba = image.convert("RGBA")
        if rgba.getchannel("A").getextrema() == (255, 255):
            return rgba.convert("RGB"), None
        match self.alpha:
            case "error":
                msg = "it has transparent pixels (choose --alpha white, black or drop)"
                raise RejectedImageError(msg)
            case "drop":
                return rgba.convert("RGB"), "transparency dropped"
            case color:
                ground = Image.new("RGBA", rgba.size, color)
                return Image.alpha_composite(ground, rgba).convert("RGB"), f"on {color}"

    def square(self, image: Image.Image) -> Image.Image:
        """Return the part of the image that is resized: its center, or all of it, squashed."""
        if image.width == image.height or self.crop == "squash":
            return image
        if self.crop == "none":
            msg = f"it is {image.width}x{image.height}, not square (use --crop center)"
            raise RejectedImageError(msg)
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        return image.crop((left, top, left + side, top + side))


def opened(content: bytes | NDArray[np.uint8]) -> tuple[Image.Image, str | None]:
    """Return the image, decoded wholly and upright, and a note; raises RejectedImageError."""
    if isinstance(content, np.ndarray):
        array = content[..., 0] if content.shape[2] == 1 else content
        return Image.fromarray(np.ascontiguousarray(array)), None
    try:
        return upright(open_image(content))
    except Exception as error:  # noqa: BLE001  # strange metadata raises anything
        raise RejectedImageError(first_line(error)) from None
