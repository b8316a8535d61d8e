"""The Vendi score: how many different images a set amounts to, exp of the entropy of its kernel.

Source: Friedman and Dieng, "The Vendi Score" (arXiv 2210.02410), cosine similarity, q = 1.
"""

from __future__ import annotations

import math

import torch

from sfbench.quality.kernel import tensor
from sfbench.quality.statistics import CHUNK_ROWS, Rows
from sfbench.quality.uncertainty import Estimate


def vendi_score(features: Rows) -> Estimate:
    """Return exp(-sum l log l) over the eigenvalues l of X^T X / N, rows of X of length 1.

    They are those of the N x N similarity matrix. The error comes from each sample's influence
    -x^T log(X^T X / N) x on the entropy.
    """
    count, width = features.shape
    parts = [features[start : start + CHUNK_ROWS] for start in range(0, count, CHUNK_ROWS)]
    kernel = torch.zeros((width, width), dtype=torch.float64)
    for part in parts:
        rows = torch.nn.functional.normalize(tensor(part), dim=1)
        kernel += rows.T @ rows
    values, vectors = torch.linalg.eigh(kernel / count)
    kept = values > width * torch.finfo(torch.float64).eps * values[-1]
    values, vectors = values[kept], vectors[:, kept]
    score = math.exp(-float((values * values.log()).sum()))
    if count == 1:
        return Estimate(score, None)
    influence = torch.cat(
        [
            (torch.nn.functional.normalize(tensor(part), dim=1) @ vectors) ** 2 @ values.log()
            for part in parts
        ]
    )
    return Estimate(score, score * float(influence.std()) / math.sqrt(count))
