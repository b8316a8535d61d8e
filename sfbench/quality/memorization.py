"""MiFID: a Frechet distance that is divided where generated images lie near real ones.

Source: Bai et al., "On Training Sample Memorization: Lessons from Benchmarking Generative Modeling
with a Large-scale Competition" (arXiv 2106.03062), as torchmetrics computes it.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sfbench.quality.kernel import parts_of, tensor
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
    kept = with_a_direction(real)
    nearest = torch.zeros(len(kept), dtype=torch.float64)
    directed = with_a_direction(generated)
    for some in parts_of(directed, OTHER_ROWS):
        fake = unit(generated[directed[some]])
        for part in parts_of(kept, PART_ROWS):
            cosines = unit(real[kept[part]]) @ fake.T
            best = torch.stack(torch.aminmax(cosines, dim=1)).abs_().amax(dim=0)
            nearest[part] = torch.maximum(nearest[part], best)
    return float(1 - nearest.mean()) if len(nearest) else 1.0


def memorization_distance(frechet: float, near: float) -> float:
    """Return a Frechet distance divided by the nearness where that is below 0.1; zero if it is."""
    if frechet <= NOTHING:
        return 0.0
    return frechet / ((near if near < FAR else 1.0) + OFFSET)


def with_a_direction(rows: Rows) -> NDArray[np.int64]:
    """Return the numbers of the rows whose sum is not zero."""
    return np.flatnonzero(rows.sum(axis=1))


def unit(rows: Rows) -> Tensor:
    """Return the rows with length 1, float64."""
    return torch.nn.functional.normalize(tensor(rows), dim=1)
