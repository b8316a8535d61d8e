"""LPIPS diversity: how different two images of one class look, on average.

The mean LPIPS distance of pairs of generated images, both of the same class (Zhu et al., arXiv
1711.11586; Huang et al., arXiv 1804.04732). No pair shares an image with another, so that the pairs
are independent and their mean has a standard error.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sfbench.api.errors import DataError, UnsupportedError
from sfbench.api.labels import Conditional, Labels
from sfbench.quality.image_sets import ImageSet, RealImages
from sfbench.quality.lpips import SMALLEST, Lpips
from sfbench.quality.uncertainty import Estimate
from sfbench.values.pixels import from_bytes, to_bytes

Pair = tuple[int, int]
Progress = Callable[[str, int, int], None]
BATCH = 16


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Diversity:
    """The mean over pairs with its standard error, and how many there were."""

    estimate: Estimate
    pairs: int


def classes_of_set(images: ImageSet) -> dict[int, int]:
    """Return the class of each image by its number; a model's are balanced, one class where none are.

    A generator with classes draws them balanced from now on.
    """
    numbers = list(images.indices)
    if isinstance(images, RealImages):
        found = images.dataset.labels(numbers)
        return dict(zip(numbers, found or [0] * len(numbers), strict=True))
    generator: Any = getattr(images, "generator", None)
    if not isinstance(generator, Conditional) or not generator.classes:
        return dict.fromkeys(numbers, 0)
    generator.use_labels(Labels(rule="balanced"))
    return {seed: seed % generator.classes for seed in numbers}


def pairs_within(classes: dict[int, int], most: int, seed: int) -> list[Pair]:
    """Return disjoint pairs of images of one class, as evenly over the classes as there are images."""
    source = np.random.RandomState(seed)
    by_class: list[list[Pair]] = []
    for label in sorted(set(classes.values())):
        members = source.permutation([number for number, one in classes.items() if one == label])
        by_class.append(list(itertools.pairwise(members.tolist()))[::2])
    turns = itertools.zip_longest(*by_class)
    return [pair for turn in turns for pair in turn if pair is not None][:most]


def diversity(
    images: ImageSet, pairs: Sequence[Pair], distance: Lpips, progress: Progress
) -> Diversity:
    """Return the diversity of a set over these pairs.

    Raises UnsupportedError for images smaller than 16 px, DataError for one that cannot be read.
    """
    found: list[Tensor] = []
    for start in range(0, len(pairs), BATCH):
        part = pairs[start : start + BATCH]
        firsts, seconds = (
            list(pixels_of(images, [pair[side] for pair in part])) for side in (0, 1)
        )
        with torch.inference_mode():
            if len({image.shape for image in (*firsts, *seconds)}) == 1:
                found.append(distance(torch.stack(firsts), torch.stack(seconds)).double().cpu())
            else:
                msg = f"{images.what}: images of several sizes; give --res"
                raise DataError(msg)
        progress(images.what, start + len(part), len(pairs))
    values = torch.cat(found).numpy()
    error = float(values.std(ddof=1)) / len(values) ** 0.5 if len(values) > 1 else None
    return Diversity(estimate=Estimate(float(values.mean()), error), pairs=len(values))


def pixels_of(images: ImageSet, numbers: Sequence[int]) -> Iterator[Tensor]:
    """Yield images [3, height, width] as 8-bit images in [-1, 1]."""
    for _, picture in images.read(numbers):
        if isinstance(picture, DataError):
            raise picture
        pixels = picture.pixels
        if min(pixels.shape[1:]) < SMALLEST:
            msg = f"{images.what}: {min(pixels.shape[1:])} px; LPIPS needs {SMALLEST} px or more"
            raise UnsupportedError(msg)
        yield from_bytes(to_bytes(pixels) if pixels.is_floating_point() else pixels)
