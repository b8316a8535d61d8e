"""From features to readings: every metric that a protocol asks for, with its interval and its story."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

from sfbench.api.protocols import FeatureExtractor
from sfbench.quality.features import Seen
from sfbench.quality.frechet import frechet_distance
from sfbench.quality.inception_score import inception_score, looks_sorted
from sfbench.quality.kernel import MOST_ROWS, Discrepancy, cmmd, kernel_distance, whole_discrepancy
from sfbench.quality.names import MetricNames
from sfbench.quality.neighbours import Share, manifolds, nearest_real, share
from sfbench.quality.protocol import FrechetWay, Protocol
from sfbench.quality.reference import Reference, protocol_frechet
from sfbench.quality.statistics import Moments, moments_of
from sfbench.quality.uncertainty import (
    Estimate,
    frechet_error,
    frechet_infinity,
    richardson_frechet,
)
from sfbench.quality.vendi import vendi_score
from sfbench.records import Reading

FEW = 2
ENOUGH_FOR_BIAS = 4
"""Images a feature from which the bias of a Frechet distance is of order 1/N, as its removal needs."""


AUTHENTIC = "farther from its nearest real image than that is from any other real image"
COPIED = "at most a third as far from its nearest real image as from the second nearest"


class Evaluation:
    """The readings of one protocol on two sets of features."""

    def __init__(
        self,
        protocol: Protocol,
        extractor: FeatureExtractor,
        generated: Seen,
        reference: Reference,
        how: Mapping[str, Any],
    ) -> None:
        self.protocol = protocol
        self.names = MetricNames(protocol.name, extractor)
        self.generated = generated
        self.reference = reference
        self.how = dict(how)
        self.features = generated.statistics.features
        self.count = len(self.features)

    @functools.cached_property
    def moments(self) -> Moments:
        """Mean and covariance of the generated features."""
        return moments_of(self.features)

    @functools.cached_property
    def discrepancy(self) -> Discrepancy:
        """The kernel discrepancy of the whole sets."""
        real = self.reference.features
        assert real is not None  # noqa: S101  # looked at by those who ask
        return whole_discrepancy(self.features, real)

    def readings(self) -> Iterator[Reading]:
        """Yield every metric of the protocol; null with the reason where it cannot be had."""
        yield from self.distances()
        protocol = self.protocol
        if protocol.score is not None:
            yield self.score(single=False)
            if protocol.more.single_split:
                yield self.score(single=True)
        if protocol.neighbours is not None:
            yield from self.neighbours()
        if protocol.more.vendi:
            yield self.vendi()
        if protocol.more.copies:
            yield from self.copies()
        for metric, reason in protocol.absent.items():
            yield self.null(self.names.plain(metric), reason)

    def distances(self) -> Iterator[Reading]:
        """Yield the distances between the two sets."""
        protocol = self.protocol
        if protocol.frechet is not None:
            yield self.frechet(protocol.frechet)
            if protocol.more.infinity:
                yield self.infinity()
            if protocol.more.spatial:
                yield self.spatial(protocol.frechet)
        if protocol.kernel is not None:
            yield self.kernel()
            if protocol.more.whole_kernel:
                yield self.whole_kernel()
        if protocol.more.cmmd:
            yield self.cmmd()

    def null(self, metric: str, reason: str) -> Reading:
        """Return a reading without a value."""
        return Reading(metric=metric, unit="", reason=reason)

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
        return Reading(metric=metric, unit="", value=value, low=low, high=high, how=self.how | told)

    def frechet(self, way: FrechetWay) -> Reading:
        """Return the Frechet distance with its standard error and its value without bias."""
        metric = self.names.frechet
        real = self.reference.moments
        if min(self.count, real.count) < FEW:
            return self.null(metric, f"{min(self.count, real.count)} images; at least {FEW} needed")
        value = protocol_frechet(way, self.features, self.moments, self.reference, "exact")
        width = self.features.shape[1]
        fewest = min(self.count, real.count)
        error = debiased = None
        story = f"standard error needs more than {width} images"
        if fewest > width:
            error = frechet_error(self.features, self.moments, self.reference.features, real)
            story = (
                "influence of each image; both sets"
                if self.reference.seen
                else ("influence of each generated image; the reference taken as exact")
            )
        if self.count >= ENOUGH_FOR_BIAS * width and real.count >= ENOUGH_FOR_BIAS * width:
            plain = frechet_distance(self.moments, real)
            other = self.reference.features
            debiased = richardson_frechet(self.features, real if other is None else other, plain)
        low, high = Estimate(value, error).bounds()
        return self.reading(
            metric,
            value,
            low=low,
            high=high,
            standard_error=error,
            interval=story,
            debiased=debiased,
            ddof=way.ddof,
            algebra="exact (Cholesky and eigvalsh, or SVD), float64",
            warning="fewer images than features: biased upwards" if fewest <= width else None,
        )

    def infinity(self) -> Reading:
        """Return the distance extrapolated to infinitely many generated images."""
        metric = self.names.infinity
        width = self.features.shape[1]
        if self.count // 10 <= width:
            reason = f"{self.count} images; more than {10 * width} needed for {width} features"
            return self.null(metric, reason)
        found = frechet_infinity(self.features, self.reference.moments)
        low, high = found.bounds()
        return self.reading(
            metric, found.value, low=low, high=high, interval="of the line over 1/N", points=15
        )

    def spatial(self, way: FrechetWay) -> Reading:
        """Return the Frechet distance of spatial features (sFID)."""
        metric = self.names.spatial
        seen = self.reference.seen
        mine = self.generated.spatial
        theirs = None if seen is None else seen.spatial
        if mine is None or theirs is None:
            who = "reference" if mine is not None else "extractor"
            return self.null(metric, f"the {who} has no spatial features")
        first, second = moments_of(mine, way.ddof), moments_of(theirs, way.ddof)
        value = frechet_distance(first, second)
        if min(len(mine), len(theirs)) <= mine.shape[1]:
            few = "fewer images than features: biased upwards"
            return self.reading(metric, value, features=mine.shape[1], warning=few)
        error = frechet_error(mine, first, theirs, second)
        low, high = Estimate(value, error).bounds()
        return self.reading(
            metric, value, low=low, high=high, standard_error=error, features=mine.shape[1]
        )

    def kernel(self) -> Reading:
        """Return the kernel distance over the protocol's subsets."""
        way = self.protocol.kernel
        assert way is not None  # noqa: S101  # asked by readings
        metric, real = self.names.kernel, self.reference.features
        if real is None:
            return self.null(metric, "the reference holds moments alone; features are needed")
        fewest = min(self.count, len(real))
        if fewest < max(way.least, FEW):
            return self.null(metric, f"{fewest} images; at least {max(way.least, FEW)} needed")
        found = kernel_distance(
            self.features,
            real,
            subsets=way.subsets,
            subset_size=way.subset_size,
            seed=way.seed,
            draws=way.draws,
        )
        # Subsets overlap, so their spread is no standard error: the whole sets' one is given.
        error = self.discrepancy.error
        low, high = Estimate(found.mean, error).bounds()
        return self.reading(
            metric,
            found.mean,
            low=low,
            high=high,
            standard_error=error,
            interval=f"U-statistic of at most {MOST_ROWS} images of each set",
            deviation=found.deviation,
            subsets=found.subsets,
            subset_size=found.subset_size,
            draws=way.draws,
            subset_seed=way.seed,
        )

    def whole_kernel(self) -> Reading:
        """Return the kernel distance of the whole sets."""
        metric, real = self.names.whole_kernel, self.reference.features
        if real is None or min(self.count, len(real)) < FEW:
            return self.null(metric, "features of at least 2 images of each set are needed")
        found = self.discrepancy
        low, high = Estimate(found.value, found.error).bounds()
        return self.reading(
            metric,
            found.value,
            low=low,
            high=high,
            standard_error=found.error,
            estimator="unbiased U-statistic, no subsets",
            rows=[found.generated, found.real],
        )

    def cmmd(self) -> Reading:
        """Return the Gaussian-kernel discrepancy of unit features."""
        metric, real = self.names.cmmd, self.reference.features
        if real is None or min(self.count, len(real)) < FEW:
            return self.null(metric, "features of at least 2 images of each set are needed")
        found = cmmd(self.features, real)
        low, high = Estimate(found.value, found.error).bounds()
        return self.reading(
            metric,
            found.value,
            low=low,
            high=high,
            standard_error=found.error,
            estimator="biased V-statistic, float64, sigma 10, times 1000",
            rows=[found.generated, found.real],
        )

    def score(self, *, single: bool) -> Reading:
        """Return the Inception Score, or the class score of another extractor's classifier."""
        way = self.protocol.score
        assert way is not None  # noqa: S101  # asked by readings
        metric = self.names.single_score if single else self.names.score
        logits = self.generated.statistics.logits
        if logits is None:
            return self.null(metric, "the extractor has no classifier")
        splits = 1 if single else way.splits
        if self.count < splits:
            return self.null(metric, f"{self.count} images; at least {splits} needed")
        found = inception_score(
            logits,
            splits=splits,
            split_size=None if single else way.split_size,
            order=way.order,
            division=way.division,
            ddof=way.ddof,
            seed=way.seed,
        )
        ordered = way.order == "stored" and not single and looks_sorted(logits)
        low, high = Estimate(found.mean, found.error).bounds()
        return self.reading(
            metric,
            found.mean,
            low=low,
            high=high,
            standard_error=found.error,
            interval="spread of the KL divergence over images",
            deviation=None if single else found.deviation,
            splits=found.splits,
            order=way.order,
            warning="images lie sorted by class: the splits make the score too low"
            if ordered
            else None,
        )

    def neighbours(self) -> Iterator[Reading]:
        """Yield precision, recall, density and coverage."""
        way = self.protocol.neighbours
        assert way is not None  # noqa: S101  # asked by readings
        names, real = self.names.neighbours, self.reference.features
        if real is None or min(self.count, len(real)) <= way.k:
            reason = f"features of more than {way.k} images of each set are needed"
            yield from (self.null(metric, reason) for metric in names.values())
            return
        both = manifolds(self.features, real, k=way.k)
        other = both["<=" if way.ties == "<" else "<"]
        chosen = both[way.ties]
        for measure, metric in names.items():
            own: Share = getattr(chosen, measure)
            elsewhere: Share = getattr(other, measure)
            tied = chosen.tied and elsewhere.value != own.value
            yield self.reading(
                metric,
                own.value,
                low=own.low,
                high=own.high,
                interval="normal, of the mean" if measure == "density" else "binomial (Wilson)",
                k=way.k,
                ties=way.ties,
                rows=[min(self.count, MOST_ROWS), min(len(real), MOST_ROWS)],
                warning=f"ties: {elsewhere.value:.4g} with {other.ties}" if tied else None,
            )

    def vendi(self) -> Reading:
        """Return the Vendi score of the generated images."""
        found = vendi_score(self.features)
        low, high = found.bounds()
        return self.reading(
            self.names.vendi,
            found.value,
            low=low,
            high=high,
            standard_error=found.error,
            reference=None,
        )

    def copies(self) -> Iterator[Reading]:
        """Yield two signs of copied training images: authenticity, and the share of near copies."""
        real = self.reference.features
        if real is None or len(real) < FEW:
            reason = "features of at least 2 real images are needed"
            yield from (
                self.null(name, reason) for name in (self.names.authenticity, self.names.copies)
            )
            return
        found = nearest_real(self.features, real)
        rules = {
            self.names.authenticity: (found.authentic, AUTHENTIC),
            self.names.copies: (found.copied, COPIED),
        }
        for metric, (marks, rule) in rules.items():
            part = share(int(marks.sum()), len(marks))
            yield self.reading(
                metric,
                part.value,
                low=part.low,
                high=part.high,
                interval="binomial (Wilson)",
                rule=rule,
            )
