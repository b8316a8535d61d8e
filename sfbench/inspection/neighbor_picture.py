"""A picture of generated images beside their nearest real ones, most suspicious first."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sfbench.api.errors import DataError, UsageError
from sfbench.quality.comparison import Comparison, view_of
from sfbench.quality.features import Share, alone
from sfbench.quality.image_sets import ImageSet
from sfbench.quality.neighbors import nearest_rows
from sfbench.quality.protocols import OWN, read_protocol
from sfbench.quality.resizing import pil_bicubic
from sfbench.values.pixels import to_bytes

ROWS = 12
NEIGHBORS = 5
GAP = 2
LEAST_SIDE = 64


def draw_neighbors(comparison: Comparison, path: Path) -> str:
    """Write the picture of `neighbors` and return its caption.

    Raises UsageError if there is only a statistics file to compare with.
    """
    if comparison.reference is None:
        msg = "--neighbors needs the reference images, not a statistics file"
        raise UsageError(msg)
    picture, caption = neighbors(comparison)
    picture.save(path)
    return f"{path}: {caption}"


def neighbors(comparison: Comparison) -> tuple[Image.Image, str]:
    """Return the picture and its caption: one row per image, its nearest real ones to the right.

    Rows are those whose nearest real image is closest in proportion to the second nearest.
    """
    assert comparison.reference is not None  # noqa: S101  # see `draw_neighbors`
    protocol = read_protocol(OWN)
    extractor = comparison.open_extractor(comparison.extractor or protocol.extractor)
    # Not shared: features made by several processes are complete by now.
    forward = dataclasses.replace(comparison.forward, share=Share(), barrier=alone)
    sets = []
    pairs = (comparison.generated, comparison.reference)
    for image_set, store in zip(pairs, comparison.stores, strict=True):
        preprocessing = view_of(protocol, extractor, floating=image_set.floating)
        sets.append(forward.extract(image_set, preprocessing, store, logits=False).statistics)
    generated, real = sets
    found = nearest_rows(generated.features, real.features, min(NEIGHBORS, len(real)))
    second = found.distance[:, min(1, found.distance.shape[1] - 1)]
    # An image equal to two real ones is maximally suspicious.
    ratio = np.divide(found.distance[:, 0], second, out=np.zeros_like(second), where=second > 0)
    suspicious = np.argsort(ratio, kind="stable")[:ROWS]
    rows = []
    for place in suspicious:
        numbers = [int(real.indices[index]) for index in found.index[place]]
        own = pixels_of(comparison.generated, [int(generated.indices[place])])
        rows.append(torch.cat([*own, *pixels_of(comparison.reference, numbers)], dim=2))
    picture = Image.fromarray(torch.cat(rows, dim=1).permute(1, 2, 0).numpy())
    return picture, (
        f"{len(rows)} of {len(generated)} images (left), each with its {found.index.shape[1]} "
        f"nearest of {len(real)} real images by {extractor.name}; most suspicious first"
    )


def pixels_of(image_set: ImageSet, indices: list[int]) -> list[Tensor]:
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
