"""The Inception Score: exp E KL(p(y|x) || p(y)) over splits of the samples.

Source: Salimans et al., "Improved Techniques for Training GANs" (arXiv 1606.03498, section 4).
"""

from __future__ import annotations

import dataclasses

import numpy as np

from sfbench.quality.statistics import Rows

SPLITS = 10
SHUFFLE_SEED = 2020


@dataclasses.dataclass(frozen=True, slots=True)
class InceptionScore:
    """Mean and population standard deviation over splits."""

    mean: float
    deviation: float
    splits: int


def inception_score(logits: Rows, *, splits: int = SPLITS) -> InceptionScore:
    """Return the score of class logits [N, K], in float64 from log-softmax.

    Samples are shuffled as torch-fidelity does (RandomState(2020)): without it the score depends
    on their order. Raises ValueError for fewer samples than splits.
    """
    count = len(logits)
    if count < splits:
        msg = f"{count} samples cannot be divided into {splits} splits"
        raise ValueError(msg)
    rows = logits[np.random.RandomState(SHUFFLE_SEED).permutation(count)].astype(np.float64)
    shifted = rows - rows.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    p = np.exp(log_p)
    scores = []
    for index in range(splits):
        part = slice(index * count // splits, (index + 1) * count // splits)
        log_marginal = np.log(np.maximum(p[part].mean(axis=0), np.finfo(np.float64).tiny))
        divergence = (p[part] * (log_p[part] - log_marginal)).sum(axis=1).mean()
        scores.append(np.exp(divergence))
    return InceptionScore(float(np.mean(scores)), float(np.std(scores)), splits)
