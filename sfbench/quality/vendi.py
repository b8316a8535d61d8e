"""The Vendi score: how many different images a set amounts to, exp of the entropy of its kernel.

Source: Friedman and Dieng, "The Vendi Score" (arXiv 2210.02410), cosine similarity, q = 1.
"""

from __future__ import annotations

import math

import torch

from sfbench.quality.kernel import tensor
from sfbench.quality.statistics import Rows
from sfbench.quality.uncertainty import Estimate


def vendi_score(features: Rows) -> Estimate:
    """Return exp(-sum l log l) over the eigenvalues l of X^T X / N, rows of X of length 1.

    They are those of the N x N similarity matrix. The error comes from each sample's influence
    -x^T log(X^T X / N) x on the entropy.
    """
    rows = torch.nn.functional.normalize(tensor(features), dim=1)
    values, vectors = torch.linalg.eigh(rows.T @ rows / len(rows))
    kept = values > len(values) * torch.finfo(torch.float64).eps * values[-1]
    values, vectors = values[kept], vectors[:, kept]
    score = math.exp(-float((values * values.log()).sum()))
    influence = -((rows @ vectors) ** 2 @ values.log())
    error = float(influence.std()) / math.sqrt(len(rows)) if len(rows) > 1 else None
    return Estimate(score, None if error is None else score * error)
