"""What every reading of a protocol has in common: its name, how it was made, its interval."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from sfbench.api.protocols import FeatureExtractor
from sfbench.quality.gathered import ExtractedFeatures
from sfbench.quality.influences import Array, Influences
from sfbench.quality.names import MetricNames
from sfbench.quality.neighbors import REALISM_K, nearest_others
from sfbench.quality.protocols import Protocol
from sfbench.quality.reference import Reference
from sfbench.quality.statistics import Moments, Rows, moments_of
from sfbench.quality.uncertainty import (
    Estimate,
    error_of,
    frechet_influences,
)
from sfbench.values.messages import counted
from sfbench.values.records import Reading

FEW = 2
Keep = Callable[[Influences], str | None]
"""Keeps influences and returns a name for them; None if it cannot."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """By what images of two evaluations are paired, and what keeps their influences.

    `images`, `reference`: names of the sets, equal for equal seeds and equal real images.
    """

    images: str
    reference: str
    keep: Keep


class Telling:
    """Two sets of features by one protocol, and how readings of them are made."""

    def __init__(
        self,
        protocol: Protocol,
        extractor: FeatureExtractor,
        generated: ExtractedFeatures,
        reference: Reference,
        how: Mapping[str, Any],
        pairing: Pairing | None = None,
    ) -> None:
        self.protocol = protocol
        self.pairing = pairing
        self.names = MetricNames(protocol.name, extractor)
        self.generated = generated
        self.reference = reference
        self.how = dict(how)
        self.features = generated.statistics.features
        self.count = len(self.features)
        self.spacings: dict[int, Tensor] = {}

    def spacing(self, real: Rows) -> Tensor:
        """Return the distances of a sample of the real images to their nearest others, made once."""
        if len(real) not in self.spacings:
            way = self.protocol.neighbors
            count = max(REALISM_K, 0 if way is None else way.k)
            self.spacings[len(real)] = nearest_others(real, min(count, len(real) - 1))
        return self.spacings[len(real)]

    @functools.cached_property
    def moments(self) -> Moments:
        """Mean and covariance of the generated features."""
        return moments_of(self.features)

    @functools.cached_property
    def frechet_influences(self) -> tuple[Array, Array | None]:
        """The influence of each image on the Frechet distance."""
        real = self.reference.moments
        return frechet_influences(self.features, self.moments, self.reference.behind, real)

    @functools.cached_property
    def frechet_error(self) -> float | None:
        """The standard error of the Frechet distance; None with no more images than features."""
        if min(self.count, self.reference.moments.count) <= max(self.features.shape[1], FEW):
            return None
        return error_of(*self.frechet_influences)

    def kept(
        self, value: float, influences: tuple[Array, Array | None], debiased: float | None = None
    ) -> str | None:
        """Keep the influence of each image where somebody wants to pair them; return their name."""
        if self.pairing is None:
            return None
        own, real = influences
        return self.pairing.keep(
            Influences(
                value=value,
                own=own,
                real=real,
                images=self.pairing.images,
                reference=self.pairing.reference,
                debiased=debiased,
            )
        )

    def few(self, metric: str, count: int, least: int) -> Reading:
        """Return the null reading of a metric that needs more images."""
        return self.null(metric, f"{counted(count, 'image')}; at least {least} needed")

    def null(self, metric: str, reason: str) -> Reading:
        """Return a reading without a value."""
        return Reading(metric=metric, reason=reason)

    def reading(
        self,
        metric: str,
        value: float,
        *,
        low: float | None = None,
        high: float | None = None,
        **how: Any,
    ) -> Reading:
        """Return a reading with how it was made."""
        told = {name: found for name, found in how.items() if found is not None}
        return Reading(metric=metric, value=value, low=low, high=high, how=self.how | told)

    def estimated(self, metric: str, estimate: Estimate, **how: Any) -> Reading:
        """Return a reading with its interval and standard error."""
        low, high = estimate.bounds()
        return self.reading(
            metric, estimate.value, low=low, high=high, standard_error=estimate.error, **how
        )
