"""A picture of the images that cost a Frechet distance most, and of those that lower it.

An image's share is its influence on the distance (see `quality.uncertainty`): what removing it would
take away, to first order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sfbench.api.errors import DataError
from sfbench.inspection.judged_sets import judged_sets, tiles_of
from sfbench.inspection.tiles import table
from sfbench.quality.comparison import Comparison
from sfbench.quality.frechet import frechet_distance, optimal_maps
from sfbench.quality.statistics import Moments, Rows, moments_of
from sfbench.quality.uncertainty import influences
from sfbench.values.messages import counted

ACROSS = 12
DIRECTIONS, CLASSES = 3, 4
FEWEST = 3

Array = NDArray[np.float64]


def draw_blame(comparison: Comparison, path: Path, labels: Sequence[int] | None) -> str:
    """Write the picture and return its caption; `labels`: classes of the generated images by position.

    Raises DataError for fewer than three images.
    """
    sets = judged_sets(comparison)
    rows = sets.generated.features
    if min(len(rows), len(sets.real)) < FEWEST:
        fewest = counted(min(len(rows), len(sets.real)), "image")
        msg = f"--blame: {fewest}; at least {FEWEST} of each set needed"
        raise DataError(msg)
    first, second = moments_of(rows), moments_of(sets.real.features)
    move, _ = optimal_maps(first, second)
    if labels is not None:
        every = np.asarray(comparison.generated.indices)
        labels = np.asarray(labels)[np.searchsorted(every, sets.generated.indices)].tolist()
    share = influences(rows, first, second.mean, move)
    share = (share - share.mean()) / len(share)
    names, chosen = [], []
    for name, places in selections(rows, first, move, share, labels):
        numbers = sorted(int(sets.generated.indices[place]) for place in places)
        tiles = dict(zip(numbers, tiles_of(comparison.generated, numbers), strict=True))
        order = [int(sets.generated.indices[place]) for place in places]
        chosen.append(torch.stack([tiles[number] for number in order]))
        names.append(name)
    table(chosen, names=names).save(path)
    value = frechet_distance(first, second)
    worst = np.sort(share)[::-1][: max(len(share) // 100, 1)]
    return (
        f"{path}: {counted(len(rows), 'image')} by {sets.extractor}, distance {value:.4g}; without "
        f"the worst {counted(len(worst), 'image')} about {value - float(worst.sum()):.4g}"
        f"{by_class(share, labels)}"
    )


def selections(
    rows: Rows, own: Moments, move: Array, share: Array, labels: Sequence[int] | None
) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Yield the rows of the picture: a name, and which images, most extreme first."""
    count = min(ACROSS, len(share))
    order = np.argsort(-share, kind="stable")
    yield "cost most", order[:count]
    yield "lower it most", order[::-1][:count]
    for number, along in enumerate(leading_directions(rows, own, move), 1):
        sign = "too wide" if along.sum() > 0 else "too narrow"
        extreme = np.argsort(-np.abs(along), kind="stable")[:count]
        yield f"direction {number}: {sign}", extreme
    if labels is not None:
        classes = np.asarray(labels)
        means = {label: share[classes == label].mean() for label in np.unique(classes)}
        for label in sorted(means, key=lambda one: -means[one])[:CLASSES]:
            mine = order[classes[order] == label]
            if len(mine) >= count:
                yield f"class {label}", mine[:count]


def leading_directions(rows: Rows, own: Moments, move: Array) -> Iterator[Array]:
    """Yield what each image adds along the directions in which the spread differs most.

    Directions are eigenvectors of I - T; T is the optimal map onto the real Gaussian. Along each the
    generated spread is too wide (its eigenvalue is above zero) or too narrow.
    """
    values, vectors = np.linalg.eigh(np.eye(len(move)) - move)
    spread = np.einsum("dk,de,ek->k", vectors, own.covariance, vectors)
    for place in np.argsort(-np.abs(values * spread), kind="stable")[:DIRECTIONS]:
        along = (rows.astype(np.float64) - own.mean) @ vectors[:, place]
        yield values[place] * along**2


def by_class(share: Array, labels: Any) -> str:
    """Return the classes that cost most, in words; nothing without labels."""
    if labels is None:
        return ""
    classes = np.asarray(labels)
    sums = {int(label): float(share[classes == label].sum()) for label in np.unique(classes)}
    worst = sorted(sums, key=lambda label: -sums[label])[:CLASSES]
    return "; by class " + ", ".join(f"{label}: {sums[label]:+.3g}" for label in worst)
