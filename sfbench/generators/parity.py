"""Whether two generators make the same images of the same seeds, in batches of several sizes."""

from __future__ import annotations

import dataclasses

import torch

from sfbench.api.errors import ContractError
from sfbench.api.protocols import ImageGenerator
from sfbench.generators.contract import draw, relative_difference

TOLERANCE = 1e-4
BATCHES = (1, 2, 5)
"""Sizes of batches: a graph that was traced with one size must take others."""


@dataclasses.dataclass(frozen=True, slots=True)
class Parity:
    """How far images differ: the largest absolute difference over the largest absolute value."""

    difference: float
    images: int


def check_parity(made: ImageGenerator, source: ImageGenerator) -> Parity:
    """Return how far the images of `made` are from those of `source`.

    Raises ContractError beyond `TOLERANCE` of the largest value, or where a size of batch fails.
    """
    first, worst = 0, 0.0
    for size in BATCHES:
        seeds = range(first, first + size)
        expected = draw(source, seeds)
        try:
            images = draw(made, seeds)
        except Exception as error:
            msg = f"it does not run with a batch of {size}: {error}"
            raise ContractError(msg) from error
        if images.shape != expected.shape:
            msg = f"its images are {tuple(images.shape)}; expected {tuple(expected.shape)}"
            raise ContractError(msg)
        if not torch.isfinite(images).all():
            msg = "its images hold NaN or infinity"
            raise ContractError(msg)
        worst = max(worst, relative_difference(images, expected))
        first += size
    if not worst <= TOLERANCE:
        msg = (
            f"its images differ from the model's by {worst:.1e} of the largest value; expected at "
            f"most {TOLERANCE:.0e}"
        )
        raise ContractError(msg)
    return Parity(worst, first)
