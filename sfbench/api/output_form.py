"""What a graph of others makes: the range and layout of its images, seen on a few, then converted."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal

from sfbench.api.errors import ContractError

if TYPE_CHECKING:
    from torch import Tensor

Range = Literal["[-1, 1]", "[0, 1]", "0..255"]
Layout = Literal["NCHW", "NHWC"]
RANGES: dict[str, Range] = {"signed": "[-1, 1]", "unit": "[0, 1]", "bytes": "0..255"}
"""Ranges by the words that options use."""
LAYOUTS: tuple[Layout, ...] = ("NCHW", "NHWC")
CHANNELS = (1, 3)
IMAGE_DIMS = 4
FEWEST = 16
"""Images to look at: fewer could all be bright by chance."""
OVERSHOOT = 0.25
"""How far values of images in [0, 1] may lie beyond, of the largest."""
LARGEST_SIGNED = 16.0
"""Beyond it, values are not those of images in [-1, 1], however badly trained the model is."""


@dataclasses.dataclass(frozen=True, slots=True)
class OutputForm:
    """How pixels come out of a graph, and what it takes to make them [-1, 1], NCHW."""

    range: Range
    layout: Layout
    channels: int
    height: int
    width: int

    @classmethod
    def of(cls, images: Tensor, value_range: str = "", layout: str = "") -> OutputForm:
        """Return the form of a graph's output for `FEWEST` seeds or more.

        `value_range` and `layout`: what the user says, "" to find out. Raises ContractError for
        what are no images.
        """
        shape = tuple(images.shape)
        if len(shape) != IMAGE_DIMS:
            msg = f"its output has shape {shape}; expected images [batch, channels, height, width]"
            raise ContractError(msg)
        places: dict[Layout, int] = {"NCHW": 1, "NHWC": 3}
        found = [name for name, place in places.items() if shape[place] in CHANNELS]
        chosen = next((name for name in LAYOUTS if name == layout), None) or next(iter(found), None)
        if chosen not in found:
            msg = (
                f"its output has shape {shape}; expected 1 or 3 channels, second or last"
                f"{f' (layout={layout})' if layout else ''}"
            )
            raise ContractError(msg)
        channels, height, width = shape[1:] if chosen == "NCHW" else (shape[3], *shape[1:3])
        return cls(RANGES.get(value_range) or range_of(images), chosen, channels, height, width)

    def images(self, raw: Tensor) -> Tensor:
        """Return the graph's output as images [batch, channels, height, width] in [-1, 1]."""
        x = raw.permute(0, 3, 1, 2) if self.layout == "NHWC" else raw
        match self.range:
            case "[-1, 1]":
                return x
            case "[0, 1]":
                return x * 2 - 1
            case "0..255":
                return x.float() / 127.5 - 1

    @property
    def converted(self) -> str:
        """What a call of `images` computes, in words: it is part of what is timed."""
        parts = [] if self.layout == "NCHW" else ["a permuted view"]
        parts += [] if self.range == "[-1, 1]" else [f"{self.range} to [-1, 1]"]
        return ", ".join(parts) or "nothing"


def range_of(images: Tensor) -> Range:
    """Return the range of pixels: bytes, or floating point by the values of many images.

    Raises ContractError for values that fit none.
    """
    if str(images.dtype) == "torch.uint8":
        return "0..255"
    if not images.is_floating_point():
        msg = f"its output is {images.dtype}; expected floating-point images, or uint8"
        raise ContractError(msg)
    low, high = images.min().item(), images.max().item()
    # Models of images in [-1, 1] reach dark pixels in many images; a decoder without a final clamp
    # goes a little beyond 0 and 1.
    bright = low >= -OVERSHOOT * high
    if bright and OVERSHOOT < high <= 1 + OVERSHOOT:
        return "[0, 1]"
    if low >= 0 and high > 1:
        return "0..255"
    if max(-low, high) > LARGEST_SIGNED:
        msg = (
            f"its values go from {low:.3g} to {high:.3g}; expected images in [-1, 1], [0, 1] or "
            "0..255: say which with --option range="
        )
        raise ContractError(msg)
    return "[-1, 1]"
