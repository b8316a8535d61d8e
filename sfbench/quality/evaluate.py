"""From features to readings: every metric of a protocol, with its interval and provenance."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping

from sfbench.quality.copying import copying
from sfbench.quality.frechet import frechet_distance
from sfbench.quality.inception_score import inception_score, looks_sorted, score_influences
from sfbench.quality.kernel import (
    CUBIC,
    MOST_ROWS,
    RBF_SIGMA,
    Discrepancy,
    GaussianKernel,
    at_most,
    cmmd,
    kernel_distance,
    whole_discrepancies,
)
from sfbench.quality.neighbors import Share, manifolds
from sfbench.quality.packets import packet_readings
from sfbench.quality.protocols import FrechetWay
from sfbench.quality.published import PACKETS, SPECTRUM
from sfbench.quality.reference import protocol_frechet
from sfbench.quality.sliced import (
    DIRECTIONS,
    SEED,
    approximate_sliced_distance,
    monge_distance,
)
from sfbench.quality.spectrum import spectrum_readings
from sfbench.quality.statistics import moments_of
from sfbench.quality.telling import FEW, Telling
from sfbench.quality.uncertainty import (
    ENOUGH_FOR_BIAS,
    Estimate,
    frechet_error,
    frechet_infinity,
    richardson_frechet,
)
from sfbench.quality.vendi import vendi_score
from sfbench.values.messages import counted
from sfbench.values.records import Reading

BOTH_SETS = "influence of each image; both sets"
NEEDS_TWO = "features of at least 2 images of each set are needed"
WITHOUT_NETWORK: Mapping[str, Callable[[Telling], Iterator[Reading]]] = {
    PACKETS: packet_readings,
    SPECTRUM: spectrum_readings,
}
"""What is measured with features that no other metric is meant for."""
ONE_SET = "influence of each generated image; the reference taken as exact"


class Evaluation(Telling):
    """The readings of one protocol on two sets of features."""

    @functools.cached_property
    def discrepancies(self) -> list[Discrepancy]:
        """The kernel discrepancies of the whole sets: cubic kernel, and Gaussian where asked."""
        real = self.reference.features
        assert real is not None  # noqa: S101  # looked at by those who ask
        more = [GaussianKernel(RBF_SIGMA)] if self.protocol.more.rbf else []
        return whole_discrepancies(self.features, real, [CUBIC, *more])

    def readings(self) -> Iterator[Reading]:
        """Yield every metric of the protocol; null with the reason if it is unavailable."""
        alone = WITHOUT_NETWORK.get(self.names.extractor)
        if alone is not None:
            yield from alone(self)
            return
        yield from self.distances()
        protocol = self.protocol
        if protocol.score is not None:
            yield self.score(single=False)
            if protocol.more.single_split:
                yield self.score(single=True)
        if protocol.neighbors is not None:
            yield from self.neighbors()
        if protocol.more.vendi:
            yield self.vendi()
        yield from copying(self)
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
                yield self.spatial()
        if protocol.kernel is not None:
            yield self.kernel()
            if protocol.more.whole_kernel:
                yield self.whole_kernel()
        if protocol.more.rbf:
            yield self.rbf_kernel()
        if protocol.more.monge:
            yield self.monge()
        if protocol.more.sliced:
            yield self.sliced()
        if protocol.more.cmmd:
            yield self.cmmd()

    def frechet(self, way: FrechetWay) -> Reading:
        """Return the Frechet distance with its standard error and debiased value."""
        metric = self.names.frechet
        real, behind = self.reference.moments, self.reference.behind
        if min(self.count, real.count) < FEW:
            return self.few(metric, min(self.count, real.count), FEW)
        value = protocol_frechet(way, self.features, self.moments, self.reference, "exact")
        width = self.features.shape[1]
        fewest = min(self.count, real.count)
        error, debiased = self.frechet_error, None
        story = f"needs more than {width} images"
        if error is not None:
            story = BOTH_SETS if behind is not None else ONE_SET
        if min(self.count, real.count) >= ENOUGH_FOR_BIAS * width:
            plain = frechet_distance(self.moments, real)
            debiased = richardson_frechet(self.features, real if behind is None else behind, plain)
        kept = None
        if error is not None:
            kept = self.kept(value, self.frechet_influences, debiased)
        return self.estimated(
            metric,
            Estimate(value, error),
            interval=story,
            debiased=debiased,
            influences=kept,
            ddof=way.ddof,
            algebra="exact (Cholesky and eigvalsh, or SVD), float64",
            warning="fewer images than features: biased upward" if fewest <= width else None,
        )

    def infinity(self) -> Reading:
        """Return the distance extrapolated to infinitely many generated images."""
        metric = self.names.infinity
        width = self.features.shape[1]
        if self.count // 10 <= width:
            there = counted(self.count, "image")
            reason = f"{there}; more than {10 * width} needed for {width} features"
            return self.null(metric, reason)
        found = frechet_infinity(self.features, self.reference.moments)
        error = None
        if found.error is not None and self.frechet_error is not None:
            error = math.hypot(found.error, self.frechet_error)
        return self.estimated(
            metric,
            Estimate(found.value, error),
            interval="influence of each image, and the line over 1/N",
            points=15,
        )

    def spatial(self) -> Reading:
        """Return the Frechet distance of spatial features (sFID)."""
        metric = self.names.spatial
        mine, theirs = self.generated.spatial, self.reference.spatial
        if mine is None or theirs is None:
            who = "reference" if mine is not None else "extractor"
            return self.null(metric, f"the {who} has no spatial features")
        if min(len(mine), theirs.count) < FEW:
            return self.few(metric, min(len(mine), theirs.count), FEW)
        own, width = moments_of(mine), mine.shape[1]
        value = frechet_distance(own, theirs)
        if min(len(mine), theirs.count) <= width:
            few = "fewer images than features: biased upward"
            return self.reading(metric, value, features=width, warning=few)
        extracted = self.reference.extracted
        behind = None if self.reference.file or extracted is None else extracted.spatial
        error = frechet_error(mine, own, behind, theirs)
        return self.estimated(metric, Estimate(value, error), features=width)

    def kernel(self) -> Reading:
        """Return the kernel distance over the protocol's subsets."""
        way = self.protocol.kernel
        assert way is not None  # noqa: S101  # asked by readings
        metric, real = self.names.kernel, self.reference.features
        if real is None:
            return self.null(metric, "the reference has only moments; features are needed")
        fewest = min(self.count, len(real))
        if fewest < max(way.least, FEW):
            return self.few(metric, fewest, max(way.least, FEW))
        found = kernel_distance(
            self.features,
            real,
            subsets=way.subsets,
            subset_size=way.subset_size,
            seed=way.seed,
            draws=way.draws,
        )
        # Sampling noise of the images, as for the whole sets, plus that of the draws.
        error = self.discrepancies[0].error
        if error is not None and found.deviation is not None:
            error = math.sqrt(error**2 + found.deviation**2 / found.subsets)
        return self.estimated(
            metric,
            Estimate(found.mean, error),
            interval=f"U-statistic of at most {MOST_ROWS} images of each set, and the draws",
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
            return self.null(metric, NEEDS_TWO)
        found = self.discrepancies[0]
        return self.estimated(
            metric,
            Estimate(found.value, found.error),
            estimator="unbiased U-statistic, no subsets",
            rows=[found.generated, found.real],
        )

    def rbf_kernel(self) -> Reading:
        """Return the kernel distance of the whole sets with a Gaussian kernel."""
        metric, real = self.names.rbf_kernel, self.reference.features
        if real is None or min(self.count, len(real)) < FEW:
            return self.null(metric, NEEDS_TWO)
        found = self.discrepancies[1]
        return self.estimated(
            metric,
            Estimate(found.value, found.error),
            estimator=f"unbiased U-statistic, Gaussian kernel, sigma {RBF_SIGMA:g}",
            rows=[found.generated, found.real],
        )

    def monge(self) -> Reading:
        """Return the mean squared Wasserstein distance over random lines (MIND)."""
        metric, real = self.names.monge, self.reference.features
        if real is None or min(self.count, len(real)) < FEW:
            return self.null(metric, NEEDS_TWO)
        return self.estimated(
            metric,
            monge_distance(self.features, real),
            interval="potential of each image, with these directions",
            directions=DIRECTIONS,
            direction_seed=SEED,
            rows=[min(self.count, len(real))] * 2,
        )

    def sliced(self) -> Reading:
        """Return the closed form of the sliced Wasserstein distance, not squared."""
        metric, real = self.names.sliced, self.reference.moments
        if min(self.count, real.count) < FEW:
            return self.few(metric, min(self.count, real.count), FEW)
        behind = self.reference.behind
        return self.estimated(
            metric,
            approximate_sliced_distance(self.features, self.moments, behind, real),
            interval=BOTH_SETS if behind is not None else ONE_SET,
        )

    def cmmd(self) -> Reading:
        """Return the Gaussian-kernel discrepancy of unit features."""
        metric, real = self.names.cmmd, self.reference.features
        if real is None or min(self.count, len(real)) < FEW:
            return self.null(metric, NEEDS_TWO)
        found = cmmd(self.features, real)
        return self.estimated(
            metric,
            Estimate(found.value, found.error),
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
            return self.few(metric, self.count, splits)
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
        kept = None
        if self.pairing is not None and not single:
            own = score_influences(logits, found.mean)
            kept = self.kept(found.mean, (own, None))
        return self.estimated(
            metric,
            Estimate(found.mean, found.error),
            interval="spread of the KL divergence over images",
            deviation=None if single else found.deviation,
            splits=found.splits,
            order=way.order,
            influences=kept,
            warning="images are sorted by class: the splits make the score too low"
            if ordered
            else None,
        )

    def neighbors(self) -> Iterator[Reading]:
        """Yield precision, recall, density and coverage."""
        way = self.protocol.neighbors
        assert way is not None  # noqa: S101  # asked by readings
        names, real = self.names.neighbors, self.reference.features
        if real is None or min(self.count, len(real)) <= way.k:
            reason = f"features of more than {way.k} images of each set are needed"
            yield from (self.null(metric, reason) for metric in names.values())
            return
        most = min(self.count, len(real)) if way.equal else None
        if way.rows is not None:
            most = min(way.rows, most or way.rows)
        generated, others = at_most(self.features, most), at_most(real, most)
        both = manifolds(generated, others, k=way.k, spacing=self.spacing(others))
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
                rows=[len(generated), len(others)],
                warning=f"ties: {elsewhere.value:.4g} with {other.ties}" if tied else None,
            )

    def vendi(self) -> Reading:
        """Return the Vendi score of the generated images."""
        found = vendi_score(self.features)
        return self.estimated(
            self.names.vendi,
            found,
        )
