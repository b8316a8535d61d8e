"""Extractors without a network, which take images at their own size, all of one size."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from sfbench.api.protocols import Features
from sfbench.quality.statistics import Rows


class OneSizeExtractor(abc.ABC):
    """Base of extractors that compute a vector of an image's pixels, whose length follows its size.

    The first image decides the size; the features of any other size are not-a-number, since sets of
    several sizes cannot be compared pixel by pixel (see `is_whole`).
    """

    name: str
    standard = False
    side: int | None = None
    resize = "none"

    def __init__(self, name: str, **settings: Any) -> None:
        self.name = name
        self.size: tuple[int, int] | None = None
        self.identity: Mapping[str, Any] = {
            "name": name,
            "weights_sha256": None,
            "features": None,
        } | settings

    def __call__(self, images: Float[Tensor, "batch 3 height width"]) -> Features:
        """Return the features [batch, D] of images in 0..255."""
        height, width = int(images.shape[2]), int(images.shape[3])
        self.size = self.size or (height, width)
        if self.size == (height, width):
            return Features(self.of(images / 255))
        like = self.of(torch.zeros(1, 3, *self.size))
        return Features(like.new_full((len(images), like.shape[1]), torch.nan))

    @abc.abstractmethod
    def of(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch features"]:
        """Return the features of images in 0..1."""


def misfit(generated: Rows, real: Rows | None) -> str | None:
    """Return why the features of two sets cannot be compared, or None."""
    if real is None:
        return "the reference has only moments; images are needed"
    if generated.shape[1] != real.shape[1] or not (is_whole(generated) and is_whole(real)):
        return "the images are of several sizes; give --res"
    return None


def is_whole(rows: Rows) -> bool:
    """Return whether all features are of images of one size."""
    return not torch.isnan(torch.from_numpy(rows[:, :1])).any()
