"""MiFID: a Frechet distance that is divided where generated images lie near real ones.

Source: Bai et al., "On Training Sample Memorization: Lessons from Benchmarking Generative Modeling
with a Large-scale Competition" (arXiv 2106.03062), as torchmetrics computes it.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from sfbench.quality.kernel import tensor
from sfbench.quality.neighbors import OTHER_ROWS, PART_ROWS
from sfbench.quality.statistics import Rows

FAR = 0.1
"""Mean cosine distance from which on nothing counts as memorized."""
NOTHING = 1e-8
"""A Frechet distance of rounding errors alone is not divided."""
OFFSET = 1e-14


def nearness(generated: Rows, real: Rows) -> float:
    """Return the mean over real rows of the cosine distance, 1 - |cos|, to the nearest generated one.

    Rows whose sum is zero are left out, as torchmetrics does; 1 if no real row is left.
    """
    nearest = torch.zeros(0, dtype=torch.float64)
    for fake in unit_parts(generated, OTHER_ROWS):
        found = [
            torch.stack(torch.aminmax(true @ fake.T, dim=1)).abs_().amax(dim=0)
            for true in unit_parts(real, PART_ROWS)
        ]
        if found:
            best = torch.cat(found)
            nearest = torch.maximum(nearest, best) if len(nearest) else best
    return float(1 - nearest.mean()) if len(nearest) else 1.0


def memorization_distance(frechet: float, near: float) -> float:
    """Return a Frechet distance divided by the nearness where that is below 0.1; zero if it is."""
    if frechet <= NOTHING:
        return 0.0
    return frechet / ((near if near < FAR else 1.0) + OFFSET)


def unit_parts(rows: Rows, size: int) -> Iterator[Tensor]:
    """Yield rows of length 1 in parts, without those whose sum is zero."""
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        kept = tensor(part[part.sum(axis=1) != 0])
        if len(kept):
            yield torch.nn.functional.normalize(kept, dim=1)
