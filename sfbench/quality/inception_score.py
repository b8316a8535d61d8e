"""The Inception Score: exp E KL(p(y|x) || p(y)) over splits of the samples.

Source: Salimans et al., "Improved Techniques for Training GANs" (arXiv 1606.03498, section 4).
Named IS only for the class logits of Inception-v3 with its published weights.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch

from sfbench.quality.statistics import CHUNK_ROWS, Matrix, Rows

SPLITS = 10
SHUFFLE_SEED = 2020
RUN_FACTOR = 3

Order = Literal["shuffled", "stored", "torch-shuffled"]
"""Shuffled by numpy's RandomState, in stored order, or shuffled by torch.randperm."""

Division = Literal["even", "equal", "chunks"]
"""Part i from i*N//splits; N//splits each, the rest dropped; or torch.chunk, the last one short."""


@dataclasses.dataclass(frozen=True, slots=True)
class InceptionScore:
    """Mean and standard deviation over splits; standard error over samples."""

    mean: float
    deviation: float
    splits: int
    error: float


def inception_score(
    logits: Rows,
    *,
    splits: int = SPLITS,
    split_size: int | None = None,
    order: Order = "shuffled",
    division: Division = "even",
    ddof: int = 0,
    seed: int = SHUFFLE_SEED,
) -> InceptionScore:
    """Return the score of class logits [N, K], in float64 from log-softmax.

    Samples are shuffled as torch-fidelity does (RandomState(2020)) unless `order` says otherwise:
    in stored order the score depends on that order. The error is that of the mean KL divergence
    over samples, propagated through exp. `split_size` cuts parts of that size, as many as fit.
    Raises ValueError for fewer samples than splits.
    """
    count = len(logits)
    if split_size is not None:
        splits = -(-count // split_size)
    if count < splits:
        msg = f"{count} samples cannot be divided into {splits} splits"
        raise ValueError(msg)
    rows = ordered(count, order, seed)
    scores, divergences = [], []
    for part in parts(count, splits, division, split_size):
        found = divergence(logits, rows[part])
        divergences.append(found)
        scores.append(np.exp(found.mean()))
    mean = float(np.mean(scores))
    relative = float(np.std(np.concatenate(divergences)) / np.sqrt(count))
    deviation = float(np.std(scores, ddof=ddof)) if len(scores) > ddof else 0.0
    return InceptionScore(mean, deviation, len(scores), mean * relative)


def score_influences(logits: Rows, score: float) -> Matrix:
    """Return the influence of each sample on the score over all of them, but for a constant.

    That on E KL is the sample's own divergence: the change of the marginal adds nothing to first
    order.
    """
    return score * divergence(logits, np.arange(len(logits)))


def log_softmax(logits: Rows) -> Matrix:
    """Return the logarithms of class probabilities, float64."""
    rows = logits.astype(np.float64)
    rows -= rows.max(axis=1, keepdims=True)
    rows -= np.log(np.exp(rows).sum(axis=1, keepdims=True))
    return rows


def divergence(logits: Rows, rows: np.ndarray) -> Matrix:
    """Return KL(p(y|x) || p(y)) of each of these rows, p(y) the mean over them.

    But for the result, memory does not grow with the number of rows.
    """
    chunks = [rows[start : start + CHUNK_ROWS] for start in range(0, len(rows), CHUNK_ROWS)]
    total = sum(np.exp(log_softmax(logits[chunk])).sum(axis=0) for chunk in chunks)
    log_marginal = np.log(np.maximum(total / len(rows), np.finfo(np.float64).tiny))
    found = []
    for chunk in chunks:
        log_p = log_softmax(logits[chunk])
        found.append((np.exp(log_p) * (log_p - log_marginal)).sum(axis=1))
    return np.concatenate(found)


def ordered(count: int, order: Order, seed: int) -> np.ndarray:
    """Return the order in which samples are taken."""
    match order:
        case "shuffled":
            return np.random.RandomState(seed).permutation(count)
        case "torch-shuffled":
            return torch.randperm(count, generator=torch.Generator().manual_seed(seed)).numpy()
        case "stored":
            return np.arange(count)


def parts(
    count: int, splits: int, division: Division, split_size: int | None = None
) -> Iterator[slice]:
    """Yield the parts of the samples."""
    match division:
        case "even":
            for index in range(splits):
                yield slice(index * count // splits, (index + 1) * count // splits)
        case "equal":
            size = count // splits
            for index in range(splits):
                yield slice(index * size, (index + 1) * size)
        case "chunks":
            size = split_size or -(-count // splits)
            for start in range(0, count, size):
                yield slice(start, min(start + size, count))


def looks_sorted(logits: Rows) -> bool:
    """Return whether neighboring samples share their class far more often than chance allows.

    Stored order then changes a score taken over splits.
    """
    classes = logits.argmax(axis=1)
    if len(classes) < RUN_FACTOR * SPLITS:
        return False
    shares = np.bincount(classes) / len(classes)
    by_chance = float((shares**2).sum())
    same = float((classes[1:] == classes[:-1]).mean())
    noise = np.sqrt(by_chance * (1 - by_chance) / len(classes))
    return same > by_chance + 5 * float(noise) and same > min(RUN_FACTOR * by_chance, 0.9)
