"""One pass, many protocols: two sets of images in, the readings of every protocol asked for out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from sfbench.api.errors import DataError, UsageError, WeightsError
from sfbench.api.protocols import FeatureExtractor
from sfbench.quality.evaluate import Evaluation
from sfbench.quality.feature_store import FeatureStore
from sfbench.quality.features import FeaturePass, Seen, View, first_of
from sfbench.quality.frechet import frechet_distance
from sfbench.quality.names import MetricNames
from sfbench.quality.pictures import Pictures
from sfbench.quality.protocol import AUTO, Protocol
from sfbench.quality.published import INCEPTION
from sfbench.quality.reference import Reference
from sfbench.quality.reference_file import MANY, ReferenceFile
from sfbench.quality.statistics import moments_of
from sfbench.records import Reading

Opener = Callable[[str], FeatureExtractor]
"""Returns the extractor of a name ("auto" too); raises WeightsError where its weights are missing."""

Passes = Callable[[FeatureExtractor], FeaturePass]

OWN_RESIZE = "own"
BYTES = "bytes"
SHOWN = 5
"""Unreadable images that a reading names; all of them are counted."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """An extractor that cannot be had: its name is enough to name what is missing."""

    name: str
    standard: bool


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Generated images against real ones, or against a statistics file.

    `stores`: where features of generated and of real images are kept.
    """

    generated: Pictures
    reference: Pictures | ReferenceFile
    protocols: Sequence[Protocol]
    open_extractor: Opener
    passes: Passes
    stores: tuple[FeatureStore, FeatureStore]
    extractor: str | None = None
    per_class: tuple[Sequence[int] | None, Sequence[int] | None] | None = None
    """Class numbers of generated and real images by position, for a distance a class."""
    unreadable: list[str] = dataclasses.field(default_factory=list)
    """What could not be read, a line an image, once the readings have been made."""

    def readings(self) -> Iterator[Reading]:
        """Yield the readings of all protocols, one extractor after the other."""
        for name, protocols in self.by_extractor().items():
            try:
                extractor = self.open_extractor(name)
            except WeightsError as error:
                if len(self.protocols) == 1 or self.extractor is not None:
                    raise
                yield from (missing(protocol, name, str(error)) for protocol in protocols)
                continue
            yield from self.of_extractor(extractor, protocols)

    def by_extractor(self) -> dict[str, list[Protocol]]:
        """Return the protocols by the extractor they need, or all with the one chosen."""
        groups: dict[str, list[Protocol]] = {}
        for protocol in self.protocols:
            groups.setdefault(self.extractor or protocol.extractor, []).append(protocol)
        return groups

    def of_extractor(
        self, extractor: FeatureExtractor, protocols: Sequence[Protocol]
    ) -> Iterator[Reading]:
        """Yield the readings of the protocols that use this extractor, from one pass."""
        mine = self.views(extractor, protocols, floating=self.generated.floating)
        forward = self.passes(extractor)
        generated = forward.see(
            self.generated, list(dict.fromkeys(mine.values())), self.stores[0], logits=True
        )
        theirs: dict[str, View] = {}
        real: dict[View, Seen] = {}
        if isinstance(self.reference, ReferenceFile):
            check_reference(self.reference, extractor)
        else:
            theirs = self.views(extractor, protocols, floating=self.reference.floating)
            views = list(dict.fromkeys(theirs.values()))
            real = forward.see(self.reference, views, self.stores[1], logits=False)
        for seen in (*generated.values(), *real.values()):
            self.unreadable.extend(
                line for line in seen.bad.values() if line not in self.unreadable
            )
        moments: dict[tuple[View, int], Reference] = {}
        for protocol in protocols:
            seen = first_of(generated[mine[protocol.name]], protocol.samples.generated)
            if isinstance(self.reference, ReferenceFile):
                reference = Reference(seen=None, moments=self.reference.moments)
            else:
                part = first_of(real[theirs[protocol.name]], protocol.samples.real)
                place = theirs[protocol.name], len(part.statistics)
                if place not in moments:
                    whole = moments_of(part.statistics.features)
                    moments[place] = Reference(seen=part, moments=whole)
                reference = moments[place]
            how = self.how(protocol, extractor, mine[protocol.name], seen, reference)
            yield from Evaluation(protocol, extractor, seen, reference, how).readings()
            if self.per_class is not None:
                yield from self.of_classes(protocol, extractor, seen, reference, how)

    def views(
        self, extractor: FeatureExtractor, protocols: Sequence[Protocol], *, floating: bool
    ) -> dict[str, View]:
        """Return each protocol's view; equal ones are one, so that nothing is seen twice."""
        views = {one.name: view_of(one, extractor, floating=floating) for one in protocols}
        # One protocol's spatial features come with the same forward for all.
        spatial = {dataclasses.replace(v, spatial=False) for v in views.values() if v.spatial}
        return {
            name: dataclasses.replace(view, spatial=view.spatial or view in spatial)
            for name, view in views.items()
        }

    def how(
        self,
        protocol: Protocol,
        extractor: FeatureExtractor,
        view: View,
        generated: Seen,
        reference: Reference,
    ) -> dict[str, Any]:
        """Return how the numbers of a protocol were made."""
        seen = reference.seen
        identity = (
            dict(self.reference.about) or {"name": "statistics file", "sha256": None}
            if isinstance(self.reference, ReferenceFile)
            else dict(self.reference.identity)
        )
        count = None if reference.moments.count == MANY else reference.moments.count
        return {
            "protocol": protocol.name,
            "extractor": dict(extractor.identity) | {"resize": view.resize, "scale": view.scale},
            "quantisation": view.quantisation,
            "generated": len(generated.statistics),
            "images": dict(self.generated.identity),
            "real": count,
            "reference": identity.get("dataset", identity),
            "unreadable": [len(generated.bad), 0 if seen is None else len(seen.bad)],
            "left_out": [*generated.bad.values(), *({} if seen is None else seen.bad).values()][
                :SHOWN
            ],
            "converted": [dict(generated.notes), {} if seen is None else dict(seen.notes)],
        }

    def of_classes(
        self,
        protocol: Protocol,
        extractor: FeatureExtractor,
        generated: Seen,
        reference: Reference,
        how: Mapping[str, Any],
    ) -> Iterator[Reading]:
        """Yield a Frechet distance a class."""
        names = MetricNames(protocol.name, extractor)
        mine, theirs = self.per_class or (None, None)
        if mine is None or theirs is None or reference.seen is None:
            where = "generated images" if mine is None else "reference"
            reason = f"the {where} have no class labels (dataset.json)"
            yield Reading(metric=names.per_class("?"), unit="", reason=reason)
            return
        way = protocol.frechet
        ddof = 1 if way is None else way.ddof
        own = np.asarray(mine)[position(self.generated, generated)]
        real = np.asarray(theirs)[position(self.reference, reference.seen)]
        for label in sorted(set(real.tolist()) | set(own.tolist())):
            sets = (
                generated.statistics.features[own == label],
                reference.seen.statistics.features[real == label],
            )
            counts = [len(rows) for rows in sets]
            metric = names.per_class(str(label))
            if min(counts) < 2:  # noqa: PLR2004  # a covariance needs two
                reason = f"class {label}: {counts[0]} generated, {counts[1]} real; 2 of each needed"
                yield Reading(metric=metric, unit="", reason=reason)
                continue
            value = frechet_distance(moments_of(sets[0], ddof), moments_of(sets[1], ddof))
            yield Reading(
                metric=metric,
                unit="",
                value=value,
                how=dict(how) | {"generated": counts[0], "real": counts[1], "class": label},
            )


def view_of(protocol: Protocol, extractor: FeatureExtractor, *, floating: bool) -> View:
    """Return a protocol's way from images to this extractor's features."""
    inception = extractor.name.startswith(INCEPTION)
    return View(
        quantisation=protocol.quantisation if floating else BYTES,
        resize=extractor.resize if protocol.resize == OWN_RESIZE else protocol.resize,
        # The scale is how a package feeds Inception; other networks have their own.
        scale=protocol.scale if inception else "own",
        spatial=protocol.more.spatial and inception,
    )


def position(pictures: Any, seen: Seen) -> np.ndarray:
    """Return where each seen image stands among all those asked for."""
    return np.searchsorted(np.asarray(pictures.indices), seen.statistics.indices)


def missing(protocol: Protocol, extractor: str, reason: str) -> Reading:
    """Return the null reading of a protocol whose extractor is not there."""
    absent: Any = Absent(name=extractor, standard=extractor in {INCEPTION, AUTO})
    names = MetricNames(protocol.name, absent)
    metric = names.cmmd if protocol.more.cmmd else names.frechet
    return Reading(metric=metric, unit="", reason=reason)


def check_reference(reference: ReferenceFile, extractor: FeatureExtractor) -> None:
    """Raise where a statistics file cannot belong to this extractor.

    UsageError for another number of features; DataError for another network's digest.
    """
    width, wanted = len(reference.moments.mean), extractor.identity["features"]
    if width != wanted:
        msg = f"the reference has {width} features, extractor {extractor.name} has {wanted}"
        raise UsageError(msg)
    told = reference.about.get("extractor", {}).get("weights_sha256")
    if told not in {None, extractor.identity["weights_sha256"]}:
        msg = f"the reference was made with weights {told[:12]}…, not with {extractor.name}'s"
        raise DataError(msg)
