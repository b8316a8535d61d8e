"""Why two protocols give different numbers on the same images: the gap, step by step.

Starting from the first protocol, one convention after another is replaced by the second's; each
step's change is that convention's effect, and the steps add up to the gap exactly.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

from sfbench.api.errors import UsageError
from sfbench.api.protocols import FeatureExtractor
from sfbench.quality.comparison import Comparison, view_of
from sfbench.quality.features import Preprocessing
from sfbench.quality.gathered import ExtractedFeatures, first_of
from sfbench.quality.inception_score import inception_score
from sfbench.quality.kernel import kernel_distance
from sfbench.quality.protocols import FrechetWay, Protocol
from sfbench.quality.reference import Reference, protocol_frechet
from sfbench.quality.statistics import moments_of
from sfbench.values.messages import counted
from sfbench.values.metric_names import FID, IS, KID


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One convention: its value before and after, the number after it, and what it changed."""

    metric: str
    factor: str
    before: str
    after: str
    value: float
    change: float


FEW = 2
LABELS = {
    "uniform": "drawn uniformly",
    "data": "drawn as often as in the data",
    "given": "those of the given images",
}
Value = Callable[[Protocol], float]


class Explanation:
    """The gap between two protocols on one pair of image sets."""

    def __init__(self, comparison: Comparison, first: Protocol, second: Protocol) -> None:
        if comparison.extractor is None and first.extractor != second.extractor:
            msg = (
                f"{first.name} uses {first.extractor}, {second.name} uses {second.extractor}: "
                "their distances are not comparable; choose one with --extractor"
            )
            raise UsageError(msg)
        if comparison.reference is None or comparison.statistics is not None:
            msg = "explain needs the reference images, not a statistics file"
            raise UsageError(msg)
        self.comparison = comparison
        self.first, self.second = first, second
        self.extractor: FeatureExtractor = comparison.open_extractor(
            comparison.extractor or first.extractor
        )
        self.extracted: dict[tuple[str, Preprocessing], ExtractedFeatures] = {}
        self.left_out: list[str] = []

    def steps(self) -> Iterator[Step]:
        """Yield the steps for every metric that both protocols have; say what is `left_out`.

        Raises UsageError if there is none, or too few images.
        """
        first, second = self.first, self.second
        common = [*self.image_factors()]
        if first.labels != second.labels:
            # Images that exist have the classes that they have: no step can change them.
            drawn = " -> ".join(LABELS[one.labels] for one in (first, second))
            self.left_out.append(f"labels: {drawn}; it shows where images are generated (--labels)")
        counts = [len(self.of(which, first).statistics) for which in ("gen", "real")]
        if min(counts) < FEW:
            msg = f"explain: {counts[0]} and {counts[1]} images; at least {FEW} of each are needed"
            raise UsageError(msg)
        if first.frechet and second.frechet:
            metric = FID if self.extractor.standard else f"fd[{self.extractor.name}]"
            yield from self.walk(metric, self.frechet, [*common, *self.frechet_factors()])
        if first.kernel and second.kernel:
            metric = KID if self.extractor.standard else f"kd[{self.extractor.name}]"
            if self.enough(metric, min(counts), max(first.kernel.least, second.kernel.least)):
                yield from self.walk(metric, self.kernel, [*common, *self.kernel_factors()])
        scored = self.of("gen", first).statistics.logits is not None
        if first.score and second.score and scored:
            metric = IS if self.extractor.standard else f"class_score[{self.extractor.name}]"
            if self.enough(metric, counts[0], max(first.score.splits, second.score.splits)):
                yield from self.walk(metric, self.score, [*common, *self.score_factors()])
        elif not (first.frechet and second.frechet) and not (first.kernel and second.kernel):
            msg = f"explain: {first.name} and {second.name} have no metric in common"
            raise UsageError(msg)

    def enough(self, metric: str, count: int, least: int) -> bool:
        """Return whether there are enough images for a metric; note it if not."""
        if count < least:
            self.left_out.append(f"{metric}: {counted(count, 'image')}; at least {least} needed")
        return count >= least

    def walk(
        self, metric: str, value: Value, factors: list[tuple[str, str, str, Protocol]]
    ) -> Iterator[Step]:
        """Yield the start, then one step per factor, each on top of all factors before it."""
        current = value(self.first)
        yield Step(
            metric=metric,
            factor="start",
            before="",
            after=self.first.name,
            value=current,
            change=0.0,
        )
        state = self.first
        for factor, before, after, target in factors:
            state = self.with_factor(state, factor, target)
            following = current if before == after else value(state)
            yield Step(
                metric=metric,
                factor=factor,
                before=before,
                after=after,
                value=following,
                change=following - current,
            )
            current = following

    def with_factor(self, state: Protocol, factor: str, target: Protocol) -> Protocol:
        """Return the protocol with one convention taken from the target."""
        match factor:
            case "reading" | "quantization":
                return dataclasses.replace(state, **{factor: getattr(target, factor)})
            case "resize":
                return dataclasses.replace(state, resize=target.resize, scale=target.scale)
            case "ddof":
                way, other = frechet_ways(state, target)
                return dataclasses.replace(state, frechet=dataclasses.replace(way, ddof=other.ddof))
            case "linear algebra":
                way, other = frechet_ways(state, target)
                changed = dataclasses.replace(way, algebra=other.algebra, mean=other.mean)
                return dataclasses.replace(state, frechet=changed)
            case "sample count":
                return dataclasses.replace(state, samples=target.samples)
            case _:
                return dataclasses.replace(state, kernel=target.kernel, score=target.score)

    def image_factors(self) -> Iterator[tuple[str, str, str, Protocol]]:
        """Yield what happens to images before the extractor."""
        preprocessings = [
            self.preprocessing(protocol, floating=self.comparison.generated.floating)
            for protocol in (self.first, self.second)
        ]
        # Images of a generator are in no file, yet the reference may be files.
        yield "reading", self.first.reading, self.second.reading, self.second
        yield (
            "quantization",
            preprocessings[0].quantization,
            preprocessings[1].quantization,
            self.second,
        )
        ways = [
            one.resize if one.scale == "own" else f"{one.resize}, {one.scale}"
            for one in preprocessings
        ]
        yield "resize", ways[0], ways[1], self.second
        counts = [
            f"{one.samples.generated or 'all'} and {one.samples.real or 'all'}"
            for one in (self.first, self.second)
        ]
        yield "sample count", counts[0], counts[1], self.second

    def frechet_factors(self) -> Iterator[tuple[str, str, str, Protocol]]:
        """Yield what happens to features on the way to a Frechet distance."""
        way, other = frechet_ways(self.first, self.second)
        yield "ddof", str(way.ddof), str(other.ddof), self.second
        told = [f"{one.algebra}, {one.mean} mean" for one in (way, other)]
        yield "linear algebra", told[0], told[1], self.second

    def kernel_factors(self) -> Iterator[tuple[str, str, str, Protocol]]:
        """Yield what happens to features on the way to a kernel distance."""
        told = [
            f"{way.subsets} x {way.subset_size}, {way.draws}, seed {way.seed}"
            for way in (self.first.kernel, self.second.kernel)
            if way is not None
        ]
        yield "order and draws", told[0], told[1], self.second

    def score_factors(self) -> Iterator[tuple[str, str, str, Protocol]]:
        """Yield what happens to logits on the way to the score."""
        told = [
            f"{way.order}, {way.split_size or way.splits} {way.division}"
            for way in (self.first.score, self.second.score)
            if way is not None
        ]
        yield "order and splits", told[0], told[1], self.second

    def preprocessing(self, protocol: Protocol, *, floating: bool) -> Preprocessing:
        """Return a protocol's preprocessing with this extractor."""
        return dataclasses.replace(
            view_of(protocol, self.extractor, floating=floating), spatial=False
        )

    def of(self, which: str, protocol: Protocol) -> ExtractedFeatures:
        """Return the features of one set in a protocol's preprocessing, computed once."""
        image_set = self.comparison.generated if which == "gen" else self.comparison.reference
        assert image_set is not None  # noqa: S101  # refused above
        preprocessing = self.preprocessing(protocol, floating=image_set.floating)
        if (which, preprocessing) not in self.extracted:
            store = self.comparison.stores[0 if which == "gen" else 1]
            self.extracted[which, preprocessing] = self.comparison.forward.extract(
                image_set, preprocessing, store, logits=which == "gen"
            )
            self.comparison.note_unreadable(self.extracted[which, preprocessing])
        samples = protocol.samples.generated if which == "gen" else protocol.samples.real
        return first_of(self.extracted[which, preprocessing], samples)

    def frechet(self, protocol: Protocol) -> float:
        """Return the Frechet distance by a protocol, its own linear algebra included."""
        way = protocol.frechet
        assert way is not None  # noqa: S101  # asked by steps
        mine, real = self.of("gen", protocol), self.of("real", protocol)
        reference = Reference(extracted=real, stated=None, spatial=None)
        features = mine.statistics.features
        return protocol_frechet(way, features, moments_of(features), reference, way.algebra)

    def kernel(self, protocol: Protocol) -> float:
        """Return the kernel distance by a protocol."""
        way = protocol.kernel
        assert way is not None  # noqa: S101  # asked by steps
        mine, real = self.of("gen", protocol), self.of("real", protocol)
        return kernel_distance(
            mine.statistics.features,
            real.statistics.features,
            subsets=way.subsets,
            subset_size=way.subset_size,
            seed=way.seed,
            draws=way.draws,
        ).mean

    def score(self, protocol: Protocol) -> float:
        """Return the score by a protocol."""
        way = protocol.score
        logits = self.of("gen", protocol).statistics.logits
        assert way is not None  # noqa: S101  # asked by steps
        assert logits is not None  # noqa: S101  # asked by steps
        return inception_score(
            logits,
            splits=way.splits,
            split_size=way.split_size,
            order=way.order,
            division=way.division,
            ddof=way.ddof,
            seed=way.seed,
        ).mean


def frechet_ways(first: Protocol, second: Protocol) -> tuple[FrechetWay, FrechetWay]:
    """Return the two ways to a Frechet distance."""
    assert first.frechet is not None  # noqa: S101  # asked where both have one
    assert second.frechet is not None  # noqa: S101  # asked where both have one
    return first.frechet, second.frechet
