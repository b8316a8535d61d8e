"""All features of one preprocessing, gathered from the shards in which they are stored."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from sfbench.quality.feature_store import Shard
from sfbench.quality.receipts import Fingerprints
from sfbench.quality.statistics import FeatureStatistics, Rows


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ExtractedFeatures:
    """All features of one preprocessing, with unreadable images and conversions."""

    statistics: FeatureStatistics
    spatial: Rows | None
    bad: Mapping[int, str]
    notes: Mapping[str, int]
    fingerprints: Fingerprints | None = None


def first_of(extracted: ExtractedFeatures, count: int | None) -> ExtractedFeatures:
    """Return the features of the first images, or of all."""
    if count is None or count >= len(extracted.statistics):
        return extracted
    statistics = extracted.statistics
    return dataclasses.replace(
        extracted,
        statistics=FeatureStatistics(
            indices=statistics.indices[:count],
            features=statistics.features[:count],
            logits=None if statistics.logits is None else statistics.logits[:count],
        ),
        spatial=None if extracted.spatial is None else extracted.spatial[:count],
        fingerprints=None if extracted.fingerprints is None else extracted.fingerprints[:count],
    )


class Gathered:
    """Collects shards into preallocated arrays: nothing is held twice."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.count = 0
        self.arrays: dict[str, np.ndarray] = {}
        self.bad: dict[int, str] = {}
        self.notes: dict[str, int] = {}

    def add(self, shard: Shard) -> None:
        """Append the next shard."""
        self.bad |= shard.bad
        for note, count in shard.notes.items():
            self.notes[note] = self.notes.get(note, 0) + count
        statistics = shard.statistics
        if not len(statistics):
            return
        parts: dict[str, np.ndarray | None] = {
            "indices": statistics.indices,
            "features": statistics.features,
            "logits": statistics.logits,
            "spatial": shard.spatial,
            "fingerprints": shard.fingerprints,
        }
        for name, part in parts.items():
            if part is None:
                continue
            if name not in self.arrays:
                self.arrays[name] = np.empty((self.capacity, *part.shape[1:]), part.dtype)
            self.arrays[name][self.count : self.count + len(part)] = part
        self.count += len(statistics)

    def extracted(self) -> ExtractedFeatures:
        """Return everything collected."""
        found = {name: array[: self.count] for name, array in self.arrays.items()}
        return ExtractedFeatures(
            statistics=FeatureStatistics(
                indices=found["indices"], features=found["features"], logits=found.get("logits")
            ),
            spatial=found.get("spatial"),
            bad=self.bad,
            notes=self.notes,
            fingerprints=found.get("fingerprints"),
        )
