"""Statistics of image features that add: shards, ranks and resumed runs merge with `+`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sfbench.data.array_files import read_arrays

CHUNK_ROWS = 4096

Rows = NDArray[np.float32]
Matrix = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, slots=True)
class Moments:
    """Mean [D] and unbiased covariance [D, D] (divided by N - 1) of N feature vectors."""

    count: int
    mean: Matrix
    covariance: Matrix


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FeatureStatistics:
    """Features [N, D] and class logits [N, K] (or None) by image number, ordered by it.

    The result does not depend on the order of addition, batch size or number of shards.
    """

    indices: NDArray[np.int64]
    features: Rows
    logits: Rows | None = None

    @classmethod
    def of(
        cls, indices: Sequence[int], features: Rows, logits: Rows | None = None
    ) -> FeatureStatistics:
        """Return the statistics of one batch; `indices` are the numbers of its images."""
        return cls(
            indices=np.asarray(indices, dtype=np.int64),
            features=np.asarray(features, dtype=np.float32),
            logits=None if logits is None else np.asarray(logits, dtype=np.float32),
        )

    def __add__(self, other: FeatureStatistics) -> FeatureStatistics:
        """Return the statistics of both; raises ValueError when an image is in both."""
        return merged([self, other])

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.indices)

    def moments(self) -> Moments:
        """Return mean and covariance of the features."""
        return moments_of(self.features)

    def save(self, path: Path) -> None:
        """Write the statistics as an .npz file."""
        arrays = {"indices": self.indices, "features": self.features}
        if self.logits is not None:
            arrays["logits"] = self.logits
        with path.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]  # arrays by name

    @classmethod
    def load(cls, path: Path) -> FeatureStatistics:
        """Return the statistics that `save` wrote; nothing is unpickled."""
        arrays = read_arrays(path, "indices", "features", "logits")
        return cls(
            indices=arrays["indices"], features=arrays["features"], logits=arrays.get("logits")
        )


def moments_of(rows: Rows, ddof: int = 1) -> Moments:
    """Return mean and covariance of rows [N, D], summed in float64 over chunks of a fixed size."""
    count, width = rows.shape
    starts = range(0, count, CHUNK_ROWS)
    mean = np.zeros(width)
    for start in starts:
        mean += rows[start : start + CHUNK_ROWS].sum(axis=0, dtype=np.float64)
    mean /= count
    scatter = torch.zeros((width, width), dtype=torch.float64)
    for start in starts:
        # By torch, whose threads we control: numpy's follow the environment and affect bits.
        centered = torch.from_numpy(rows[start : start + CHUNK_ROWS].astype(np.float64) - mean)
        scatter += centered.T @ centered
    return Moments(count, mean, scatter.numpy() / max(count - ddof, 1))


def merged(parts: Sequence[FeatureStatistics]) -> FeatureStatistics:
    """Return the sum of all parts in one step; raises ValueError when an image is in two."""
    indices = np.concatenate([part.indices for part in parts])
    order = np.argsort(indices, kind="stable")
    repeated = np.flatnonzero(np.diff(indices[order]) == 0)
    if len(repeated):
        msg = f"image {indices[order][repeated[0]]} is in more than one of the parts added"
        raise ValueError(msg)
    logits = [part.logits for part in parts if part.logits is not None]
    return FeatureStatistics(
        indices=indices[order],
        features=np.concatenate([part.features for part in parts])[order],
        logits=np.concatenate(logits)[order] if len(logits) == len(parts) else None,
    )
