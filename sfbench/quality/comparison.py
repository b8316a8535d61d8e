"""One pass, many protocols: from two sets of images to the readings of every requested protocol."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from sfbench.api.errors import DataError, UsageError, WeightsError
from sfbench.api.protocols import FeatureExtractor
from sfbench.quality.evaluate import Evaluation
from sfbench.quality.feature_store import FeatureStore
from sfbench.quality.features import FeaturePass, Seen, View, first_of
from sfbench.quality.names import MetricNames
from sfbench.quality.pictures import Pictures
from sfbench.quality.protocols import AUTO, Protocol
from sfbench.quality.published import INCEPTION
from sfbench.quality.reference import Reference
from sfbench.quality.reference_file import MANY, ReferenceFile
from sfbench.quality.statistics import FeatureStatistics, moments_of
from sfbench.values.records import Reading

Opener = Callable[[str], FeatureExtractor]
"""Returns the extractor of a name, or of "auto"; raises WeightsError for missing weights."""

OWN_RESIZE = "own"
BYTES = "bytes"
SHOWN = 5
"""Most unreadable images listed in a reading; all are counted."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """An unavailable extractor: its name suffices to name the missing metrics."""

    name: str
    standard: bool


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Generated images against real ones, against a statistics file, or both.

    With both (guided-diffusion's reference files) Frechet distances use the file's statistics and
    everything else the images. `stores`: stores for features of generated and real images.
    """

    generated: Pictures
    reference: Pictures | None
    statistics: ReferenceFile | None = None
    protocols: Sequence[Protocol]
    open_extractor: Opener
    forward: FeaturePass
    stores: tuple[FeatureStore, FeatureStore]
    extractor: str | None = None
    per_class: tuple[Sequence[int] | None, Sequence[int] | None] | None = None
    """Class numbers of generated and real images by position, for distances per class."""
    unreadable: list[str] = dataclasses.field(default_factory=list)
    """Unreadable images, one line each, filled in by `readings`."""

    def readings(self) -> Iterator[Reading]:
        """Yield the readings of all protocols: images are read or generated only once."""
        opened, absent = self.opened()
        mine = self.views(opened, floating=self.generated.floating)
        self.forward.ensure(self.generated, distinct(mine), self.stores[0])
        theirs: dict[str, View] = {}
        if self.reference is not None:
            theirs = self.views(opened, floating=self.reference.floating)
            self.forward.ensure(self.reference, distinct(theirs), self.stores[1])
        yield from absent
        # Protocols that share a view are adjacent, so that its features and the reference's
        # moments are computed once; the readings come in the requested order.
        seen = functools.lru_cache(maxsize=1)(self.generated_seen)
        real = functools.lru_cache(maxsize=1)(self.reference_of)
        views = distinct(mine)
        found: dict[str, list[Reading]] = {}
        for protocol, _ in sorted(opened, key=lambda pair: views.index(mine[pair[0].name])):
            view = mine[protocol.name]
            refusal = None if self.statistics is None else misfit(self.statistics, view)
            if refusal is not None and self.reference is None:
                names = MetricNames(protocol.name, view.extractor)
                found[protocol.name] = [Reading(metric=names.frechet, reason=refusal)]
                continue
            generated = first_of(seen(view), protocol.samples.generated)
            reference = real(theirs.get(protocol.name), protocol.samples.real, refusal is not None)
            how = self.how(protocol, view, generated, reference)
            evaluation = Evaluation(protocol, view.extractor, generated, reference, how)
            found[protocol.name] = list(evaluation.readings())
            if self.per_class is not None:
                classes = self.of_classes(protocol, view.extractor, generated, reference, how)
                found[protocol.name] += classes
        for protocol, _ in opened:
            yield from found[protocol.name]

    def opened(self) -> tuple[list[tuple[Protocol, FeatureExtractor]], list[Reading]]:
        """Return the protocols with their extractors, and null readings where one is missing.

        Names of the same network ("auto" and Inception-v3) share one extractor.
        """
        opened: list[tuple[Protocol, FeatureExtractor]] = []
        absent: list[Reading] = []
        unique: dict[str, FeatureExtractor] = {}
        for protocol in self.protocols:
            name = self.extractor or protocol.extractor
            try:
                extractor = self.open_extractor(name)
            except WeightsError as error:
                if len(self.protocols) == 1 or self.extractor is not None:
                    raise
                absent.append(missing(protocol, name, str(error)))
                continue
            key = f"{extractor.name} {dict(extractor.identity)}"
            opened.append((protocol, unique.setdefault(key, extractor)))
        return opened, absent

    def generated_seen(self, view: View) -> Seen:
        """Return the features of the generated images, and note what could not be read."""
        seen = self.forward.collected(self.generated, view, self.stores[0], logits=True)
        self.note_unreadable(seen)
        return seen

    def reference_of(self, view: View | None, count: int | None, refused: bool) -> Reference:  # noqa: FBT001  # a cache's key
        """Return what a view is compared with: the real images, unless the file serves it."""
        part = None
        if view is not None and self.reference is not None:
            whole = self.forward.collected(self.reference, view, self.stores[1], logits=False)
            self.note_unreadable(whole)
            part = first_of(whole, count)
        return self.against(part, None if refused else self.statistics)

    def note_unreadable(self, seen: Seen) -> None:
        """Remember what could not be read, once."""
        known = set(self.unreadable)
        self.unreadable.extend(line for line in seen.bad.values() if line not in known)

    def against(self, part: Seen | None, statistics: ReferenceFile | None) -> Reference:
        """Return what the generated features are compared with."""
        if statistics is not None:
            return Reference(
                seen=part, moments=statistics.moments, spatial=statistics.spatial, file=True
            )
        assert part is not None  # noqa: S101  # one of the two is there
        spatial = None if part.spatial is None else moments_of(part.spatial)
        moments = moments_of(part.statistics.features)
        return Reference(seen=part, moments=moments, spatial=spatial, file=False)

    def views(
        self, opened: Sequence[tuple[Protocol, FeatureExtractor]], *, floating: bool
    ) -> dict[str, View]:
        """Return each protocol's view; equal views are shared, to compute nothing twice."""
        views = {one.name: view_of(one, extractor, floating=floating) for one, extractor in opened}
        # Spatial features for one protocol come from the same forward pass for all.
        spatial = {dataclasses.replace(v, spatial=False) for v in views.values() if v.spatial}
        return {
            name: dataclasses.replace(view, spatial=view.spatial or view in spatial)
            for name, view in views.items()
        }

    def how(
        self, protocol: Protocol, view: View, generated: Seen, reference: Reference
    ) -> dict[str, Any]:
        """Return how the numbers of a protocol were made."""
        seen = reference.seen
        about: Mapping[str, Any]
        if self.reference is not None:
            identity = dict(self.reference.identity)
            about = identity.get("dataset", identity)
        else:
            assert self.statistics is not None  # noqa: S101  # one of the two is there
            about = dict(self.statistics.about) or {
                "name": "a statistics file that does not say how it was made",
                "sha256": None,
            }
        count = reference.moments.count if seen is None else len(seen.statistics)
        return {
            "protocol": protocol.name,
            "extractor": dict(view.extractor.identity)
            | {"resize": view.resize, "scale": view.scale},
            "quantization": view.quantization,
            "generated": len(generated.statistics),
            "images": dict(self.generated.identity),
            "real": None if count == MANY else count,
            "reference": about,
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
        """Yield one Frechet distance per class."""
        names = MetricNames(protocol.name, extractor)
        mine, theirs = self.per_class or (None, None)
        if mine is None or theirs is None or reference.seen is None:
            where = "generated images" if mine is None else "reference"
            reason = f"the {where} have no class labels (dataset.json)"
            yield Reading(metric=names.per_class("?"), reason=reason)
            return
        if protocol.frechet is None:
            return
        own = np.asarray(mine)[position(self.generated, generated)]
        real = np.asarray(theirs)[position(self.reference, reference.seen)]
        for label in sorted(set(real.tolist()) | set(own.tolist())):
            part, others = of_rows(generated, own == label), of_rows(reference.seen, real == label)
            counts = len(part.statistics), len(others.statistics)
            metric = names.per_class(str(label))
            if min(counts) < 2:  # noqa: PLR2004  # a covariance needs two
                reason = f"class {label}: {counts[0]} generated, {counts[1]} real; 2 of each needed"
                yield Reading(metric=metric, reason=reason)
                continue
            told = dict(how) | {"generated": counts[0], "real": counts[1], "class": label}
            evaluation = Evaluation(protocol, extractor, part, self.against(others, None), told)
            yield dataclasses.replace(evaluation.frechet(protocol.frechet), metric=metric)


def distinct(views: Mapping[str, View]) -> list[View]:
    """Return the different ones of the views."""
    return list(dict.fromkeys(views.values()))


def of_rows(seen: Seen, marks: np.ndarray) -> Seen:
    """Return the features of the marked images."""
    statistics = seen.statistics
    return dataclasses.replace(
        seen,
        statistics=FeatureStatistics(
            indices=statistics.indices[marks], features=statistics.features[marks]
        ),
        spatial=None,
    )


def view_of(protocol: Protocol, extractor: FeatureExtractor, *, floating: bool) -> View:
    """Return a protocol's way from images to this extractor's features."""
    inception = extractor.name.startswith(INCEPTION)
    return View(
        extractor=extractor,
        quantization=protocol.quantization if floating else BYTES,
        resize=extractor.resize if protocol.resize == OWN_RESIZE else protocol.resize,
        # The scale applies to Inception only; other networks have their own.
        scale=protocol.scale if inception else "own",
        spatial=protocol.more.spatial and inception,
    )


def position(pictures: Any, seen: Seen) -> np.ndarray:
    """Return the position of each processed image among those requested."""
    return np.searchsorted(np.asarray(pictures.indices), seen.statistics.indices)


def missing(protocol: Protocol, extractor: str, reason: str) -> Reading:
    """Return the null reading of a protocol whose extractor is unavailable."""
    absent = Absent(name=extractor, standard=extractor in {INCEPTION, AUTO})
    names = MetricNames(protocol.name, absent)
    metric = names.cmmd if protocol.more.cmmd else names.frechet
    return Reading(metric=metric, reason=reason)


def misfit(reference: ReferenceFile, view: View) -> str | None:
    """Return why a statistics file does not belong to this view, or None.

    Raises UsageError for another number of features, DataError for another network's digest: that
    file belongs to no protocol with this extractor.
    """
    extractor = view.extractor
    width, wanted = len(reference.moments.mean), extractor.identity["features"]
    if width != wanted:
        msg = f"expected {wanted} features by {extractor.name}, found {width} in the reference"
        raise UsageError(msg)
    told = reference.about.get("extractor", {})
    digest = told.get("weights_sha256")
    if digest not in {None, extractor.identity["weights_sha256"]}:
        msg = f"the reference was made with weights {digest[:12]}…, not with {extractor.name}'s"
        raise DataError(msg)
    for name, here in (("resize", view.resize), ("scale", view.scale)):
        there = told.get(name, here)
        if there != here:
            return f"the statistics file was made with {name} {there}, this protocol uses {here}"
    return None
