"""Both sets of an evaluation as features of this project's protocol, and their images as tiles."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from sfbench.api.errors import DataError
from sfbench.quality.comparison import Comparison, view_of
from sfbench.quality.features import Share, alone
from sfbench.quality.image_sets import ImageSet
from sfbench.quality.protocols import OWN, read_protocol
from sfbench.quality.resizing import pil_bicubic
from sfbench.quality.statistics import FeatureStatistics
from sfbench.values.pixels import to_bytes

GAP = 2
LEAST_SIDE = 64


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class JudgedSets:
    """Features of generated and of real images, and the extractor's name."""

    generated: FeatureStatistics
    real: FeatureStatistics
    extractor: str


def judged_sets(comparison: Comparison) -> JudgedSets:
    """Return the features of both sets; those that several processes made are complete by now."""
    assert comparison.reference is not None  # noqa: S101  # looked at by the command
    protocol = read_protocol(OWN)
    extractor = comparison.open_extractor(comparison.extractor or protocol.extractor)
    forward = dataclasses.replace(comparison.forward, share=Share(), barrier=alone)
    sets = []
    pairs = (comparison.generated, comparison.reference)
    for image_set, store in zip(pairs, comparison.stores, strict=True):
        preprocessing = view_of(protocol, extractor, floating=image_set.floating)
        sets.append(forward.extract(image_set, preprocessing, store, logits=False).statistics)
    return JudgedSets(generated=sets[0], real=sets[1], extractor=extractor.name)


def tiles_of(image_set: ImageSet, indices: Sequence[int]) -> list[Tensor]:
    """Return images as uint8 tiles of one size with a white edge."""
    tiles = []
    with torch.inference_mode():
        for _, picture in image_set.read(indices):
            if isinstance(picture, DataError):
                raise picture
            pixels = picture.pixels
            whole = to_bytes(pixels) if pixels.is_floating_point() else pixels
            if whole.shape[1:] != (LEAST_SIDE, LEAST_SIDE):
                whole = pil_bicubic(whole[None], LEAST_SIDE)[0].round().byte()
            tiles.append(torch.nn.functional.pad(whole.cpu(), (GAP,) * 4, value=255))
    return tiles
