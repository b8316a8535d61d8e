"""The reference of a comparison, and the Frechet distance to it by a protocol."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from sfbench.quality.frechet import Algebra, frechet_distance
from sfbench.quality.gathered import ExtractedFeatures
from sfbench.quality.protocols import FrechetWay
from sfbench.quality.spacing import KeptSpacing
from sfbench.quality.statistics import Moments, Rows, moments_of


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reference:
    """The reference for generated images: features, moments of a statistics file, or both.

    `stated`: moments that come from a file and count as exact; features, if any, serve the rest.
    `spacing`: where distances between the real images are kept.
    """

    extracted: ExtractedFeatures | None
    stated: Moments | None
    spatial: Moments | None
    spacing: KeptSpacing | None = None

    @property
    def file(self) -> bool:
        """Whether the moments come from a file."""
        return self.stated is not None

    @functools.cached_property
    def moments(self) -> Moments:
        """The moments of the features, or of the file."""
        if self.stated is not None:
            return self.stated
        assert self.extracted is not None  # noqa: S101  # one of the two is there
        return moments_of(self.extracted.statistics.features)

    @property
    def count(self) -> int:
        """How many images there are; that of the moments, where there are no features."""
        extracted = self.extracted
        return self.moments.count if extracted is None else len(extracted.statistics)

    @property
    def features(self) -> Rows | None:
        """The features, if there are any."""
        return None if self.extracted is None else self.extracted.statistics.features

    @property
    def behind(self) -> Rows | None:
        """The features that the moments were made of, where they are known."""
        return None if self.file else self.features


def protocol_frechet(
    way: FrechetWay, features: Rows, moments: Moments, reference: Reference, algebra: Algebra
) -> float:
    """Return the distance with a protocol's divisor and mean, by the algebra given."""
    first = adjusted(way, moments, features)
    second = adjusted(way, reference.moments, reference.behind)
    return frechet_distance(first, second, algebra)


def adjusted(way: FrechetWay, moments: Moments, features: Rows | None) -> Moments:
    """Return moments with the protocol's divisor, and its float32 mean where it takes one."""
    mean = moments.mean
    if way.mean == "float32" and features is not None:
        mean = features.mean(axis=0, dtype=np.float32).astype(np.float64)
    factor = (moments.count - 1) / max(moments.count - way.ddof, 1)
    covariance = moments.covariance if factor == 1 else moments.covariance * factor
    return Moments(moments.count, mean, covariance)
