"""`shapes`: scenes of shaded colored shapes before a gradient, from a seed, at any resolution.

The class of an image is its largest shape (5 classes). The same seed gives the same scene at every
resolution; edges are anti-aliased over one pixel. Random numbers come from raw Philox words, whose
stream NumPy guarantees for all versions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sfbench.api.protocols import Picture
from sfbench.values.sizes import Size

DEFINITION = "shapes-1"
CLASSES = ("disc", "square", "triangle", "ring", "star")
COUNT = 50_000
LARGEST_EXTRA = 3

Plane = NDArray[np.floating]


class ShapesDataset:
    """50,000 scenes [3, height, width] with class labels; index i is the scene of seed i.

    Scenes are square; in other sizes the shorter side spans the square, and there is more background.
    """

    def __init__(self, size: Size) -> None:
        self.resolution = min(size)
        self.identity: Mapping[str, Any] = {
            "name": "shapes",
            "sha256": None,
            "resolution": size.height,
            **({} if size.is_square else {"width": size.width}),
            "definition": DEFINITION,
            "resize": "none: drawn at the resolution",
        }
        down, across = (
            ((np.arange(side, dtype=np.float32) + 0.5) / side * 2 - 1) * (side / self.resolution)
            for side in size
        )
        self.y, self.x = np.meshgrid(down, across, indexing="ij")

    def __len__(self) -> int:
        """Return the number of scenes."""
        return COUNT

    def read(self, index: int) -> Picture:
        """Return one scene, uint8 [3, height, width]."""
        return Picture(torch.from_numpy(self.draw(index)))

    def labels(self, indices: Sequence[int]) -> list[int]:
        """Return the class of each scene."""
        return [int(uniforms(index)[0] * len(CLASSES)) for index in indices]

    def draw(self, index: int) -> NDArray[np.uint8]:
        """Return one scene as uint8 [3, height, width]."""
        random = iter(uniforms(index).tolist())
        kind = int(next(random) * len(CLASSES))
        extras = int(next(random) * (LARGEST_EXTRA + 1))
        image = self.background(random)
        for _ in range(extras):
            self.paint(image, int(next(random) * len(CLASSES)), 0.12 + 0.16 * next(random), random)
        self.paint(image, kind, 0.38 + 0.22 * next(random), random)
        return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)

    def background(self, random: Iterator[float]) -> Plane:
        """Return a linear gradient between two muted colors."""
        angle = next(random) * 2 * math.pi
        ramp = (self.x * math.cos(angle) + self.y * math.sin(angle)) / math.sqrt(2) / 2 + 0.5
        first, second = (
            np.array([0.15 + 0.6 * next(random) for _ in range(3)], dtype=np.float32)
            for _ in range(2)
        )
        image: Plane = first[:, None, None] + (second - first)[:, None, None] * ramp
        return image

    def paint(self, image: Plane, kind: int, size: float, random: Iterator[float]) -> None:
        """Paint one shape, shaded from its upper left, over the image."""
        room = 1 - size
        center_x, center_y = (room * (2 * next(random) - 1) for _ in range(2))
        angle = next(random) * 2 * math.pi
        hue, light = next(random), 0.55 + 0.45 * next(random)
        dx, dy = self.x - np.float32(center_x), self.y - np.float32(center_y)
        u = (dx * math.cos(angle) + dy * math.sin(angle)) / size
        v = (dy * math.cos(angle) - dx * math.sin(angle)) / size
        distance = signed_distance(kind, u, v) * size
        cover = np.clip(0.5 - distance * self.resolution / 2, 0, 1)
        shade = light * (0.8 - 0.35 * (dx + dy) / size)
        for channel, level in enumerate(hue_to_rgb(hue)):
            color = np.clip(shade * level, 0, 1)
            image[channel] += cover * (color - image[channel])


def uniforms(index: int, count: int = 64) -> NDArray[np.float64]:
    """Return numbers in [0, 1) from the Philox stream with this key."""
    words = np.random.Philox(key=index).random_raw(count)
    return np.asarray(words >> np.uint64(11), dtype=np.float64) * 2.0**-53


def signed_distance(kind: int, u: Plane, v: Plane) -> Plane:
    """Return the distance to a shape of radius about 1: negative inside."""
    radius: Plane = np.hypot(u, v)
    distance: Plane
    match CLASSES[kind]:
        case "disc":
            distance = radius - 1
        case "square":
            distance = np.maximum(np.abs(u), np.abs(v)) - np.float32(0.8)
        case "triangle":
            sides = [-v * 0.5 + side * u * (math.sqrt(3) / 2) for side in (-1, 1)]
            distance = np.maximum(np.maximum(sides[0], sides[1]), v) - np.float32(0.5)
        case "ring":
            distance = np.abs(radius - np.float32(0.75)) - np.float32(0.25)
        case _:
            points = np.cos(5 * np.arctan2(v, u)) * np.float32(0.25)
            distance = radius - np.float32(0.75) - points
    return distance


def hue_to_rgb(hue: float) -> tuple[float, float, float]:
    """Return a saturated color of that hue (0 to 1), never darker than 0.15 in a channel."""

    def channel(offset: float) -> float:
        return 0.15 + 0.85 * min(max(abs((hue * 6 + offset) % 6 - 3) - 1, 0.0), 1.0)

    return channel(0.0), channel(4.0), channel(2.0)
