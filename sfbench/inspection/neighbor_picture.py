"""A picture of generated images beside their nearest real ones, most suspicious first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from sfbench.api.errors import UsageError
from sfbench.inspection.judged_sets import judged_sets, tiles_of
from sfbench.quality.comparison import Comparison
from sfbench.quality.neighbors import nearest_rows

ROWS = 12
NEIGHBORS = 5


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
    sets = judged_sets(comparison)
    generated, real = sets.generated, sets.real
    found = nearest_rows(generated.features, real.features, min(NEIGHBORS, len(real)))
    second = found.distance[:, min(1, found.distance.shape[1] - 1)]
    # An image equal to two real ones is maximally suspicious.
    ratio = np.divide(found.distance[:, 0], second, out=np.zeros_like(second), where=second > 0)
    suspicious = np.argsort(ratio, kind="stable")[:ROWS]
    rows = []
    for place in suspicious:
        numbers = [int(real.indices[index]) for index in found.index[place]]
        own = tiles_of(comparison.generated, [int(generated.indices[place])])
        rows.append(torch.cat([*own, *tiles_of(comparison.reference, numbers)], dim=2))
    picture = Image.fromarray(torch.cat(rows, dim=1).permute(1, 2, 0).numpy())
    return picture, (
        f"{len(rows)} of {len(generated)} images (left), each with its {found.index.shape[1]} "
        f"nearest of {len(real)} real images by {sets.extractor}; most suspicious first"
    )
