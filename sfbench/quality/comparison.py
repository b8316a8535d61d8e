"""One pass, many protocols: from two sets of images to the readings of every requested protocol."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from sfbench.api.errors import DataError, UsageError, WeightsError
from sfbench.api.protocols import FeatureExtractor
from sfbench.quality.evaluate import Evaluation
from sfbench.quality.feature_store import FeatureStore
from sfbench.quality.features import FeaturePass, Preprocessing
from sfbench.quality.gathered import ExtractedFeatures, first_of
from sfbench.quality.image_sets import ImageSet
from sfbench.quality.names import MetricNames
from sfbench.quality.protocols import AUTO, OWN, Protocol
from sfbench.quality.published import INCEPTION
from sfbench.quality.reference import Reference
from sfbench.quality.reference_file import MANY, ReferenceFile
from sfbench.quality.spacing import KeptSpacing
from sfbench.quality.statistics import FeatureStatistics, moments_of
from sfbench.quality.telling import Keep, Pairing
from sfbench.values.records import Reading, digest

Opener = Callable[[str], FeatureExtractor]
"""Returns the extractor of a name, or of "auto"; raises WeightsError for missing weights."""

OWN_RESIZE = "own"
SPACING = "spacing.zip"
"""Not .npz, as shards of features are."""
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

    generated: ImageSet
    reference: ImageSet | None
    statistics: ReferenceFile | None = None
    protocols: Sequence[Protocol]
    open_extractor: Opener
    forward: FeaturePass
    stores: tuple[FeatureStore, FeatureStore]
    extractor: str | None = None
    per_class: tuple[Sequence[int] | None, Sequence[int] | None] | None = None
    """Class numbers of generated and real images by position, for distances per class."""
    keep: Keep | None = None
    """What keeps the influence of each image on the values of this project's own protocol."""
    unreadable: list[str] = dataclasses.field(default_factory=list)
    """Unreadable images, one line each, filled in by `readings`."""
    fingerprints: dict[int, bytes] = dataclasses.field(default_factory=dict)
    """Of generated images by seed, filled in by `readings`."""

    def readings(self) -> Iterator[Reading]:
        """Yield the readings of all protocols: images are read or generated only once."""
        opened, absent = self.opened()
        mine = self.preprocessings(opened, floating=self.generated.floating)
        self.forward.ensure(self.generated, distinct(mine), self.stores[0])
        theirs: dict[str, Preprocessing] = {}
        if self.reference is not None:
            theirs = self.preprocessings(opened, floating=self.reference.floating)
            self.forward.ensure(self.reference, distinct(theirs), self.stores[1])
        yield from absent
        # Protocols that share a preprocessing are adjacent, so that its features and the reference's
        # moments are computed once; the readings come in the requested order.
        extracted = functools.lru_cache(maxsize=1)(self.generated_features)
        real = functools.lru_cache(maxsize=1)(self.reference_of)
        preprocessings = distinct(mine)
        found: dict[str, list[Reading]] = {}
        for protocol, _ in sorted(
            opened, key=lambda pair: preprocessings.index(mine[pair[0].name])
        ):
            preprocessing = mine[protocol.name]
            refusal = None if self.statistics is None else misfit(self.statistics, preprocessing)
            if refusal is not None and self.reference is None:
                names = MetricNames(protocol.name, preprocessing.extractor)
                found[protocol.name] = [Reading(metric=names.frechet, reason=refusal)]
                continue
            generated = first_of(extracted(preprocessing), protocol.samples.generated)
            reference = real(theirs.get(protocol.name), protocol.samples.real, refusal is not None)
            how = self.how(protocol, preprocessing, generated, reference)
            pairing = self.pairing(protocol, preprocessing, generated, reference)
            evaluation = Evaluation(
                protocol, preprocessing.extractor, generated, reference, how, pairing
            )
            found[protocol.name] = list(evaluation.readings())
            if self.per_class is not None:
                classes = self.of_classes(
                    protocol, preprocessing.extractor, generated, reference, how
                )
                found[protocol.name] += classes
        for protocol, _ in opened:
            yield from found[protocol.name]

    def fill(self) -> None:
        """Compute and store features of generated images, and evaluate nothing."""
        opened, _ = self.opened()
        ways = distinct(self.preprocessings(opened, floating=self.generated.floating))
        self.forward.ensure(self.generated, ways, self.stores[0])

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

    def generated_features(self, preprocessing: Preprocessing) -> ExtractedFeatures:
        """Return the features of the generated images, and note what could not be read."""
        extracted = self.forward.collected(
            self.generated, preprocessing, self.stores[0], logits=True
        )
        self.note_unreadable(extracted)
        if extracted.fingerprints is not None:
            numbers = extracted.statistics.indices.tolist()
            self.fingerprints.update(zip(numbers, map(bytes, extracted.fingerprints), strict=True))
        return extracted

    def reference_of(
        self,
        preprocessing: Preprocessing | None,
        count: int | None,
        refused: bool,  # noqa: FBT001  # a cache's key
    ) -> Reference:
        """Return what a preprocessing is compared with: the real images, unless the file serves it."""
        part = whole = None
        if preprocessing is not None and self.reference is not None:
            whole = self.forward.collected(
                self.reference, preprocessing, self.stores[1], logits=False
            )
            self.note_unreadable(whole)
            part = first_of(whole, count)
        found = self.against(part, None if refused else self.statistics)
        if preprocessing is None or self.reference is None or part is not whole:
            return found
        place = self.stores[1].place(self.forward.key(self.reference, preprocessing))
        return dataclasses.replace(found, spacing=KeptSpacing(place / SPACING, found.count))

    def note_unreadable(self, extracted: ExtractedFeatures) -> None:
        """Remember what could not be read, once."""
        known = set(self.unreadable)
        self.unreadable.extend(line for line in extracted.bad.values() if line not in known)

    def against(
        self, part: ExtractedFeatures | None, statistics: ReferenceFile | None
    ) -> Reference:
        """Return what the generated features are compared with."""
        if statistics is not None:
            return Reference(extracted=part, stated=statistics.moments, spatial=statistics.spatial)
        assert part is not None  # noqa: S101  # one of the two is there
        spatial = None if part.spatial is None else moments_of(part.spatial)
        return Reference(extracted=part, stated=None, spatial=spatial)

    def preprocessings(
        self, opened: Sequence[tuple[Protocol, FeatureExtractor]], *, floating: bool
    ) -> dict[str, Preprocessing]:
        """Return each protocol's preprocessing; equal ones are shared, to compute nothing twice."""
        preprocessings = {
            one.name: view_of(one, extractor, floating=floating) for one, extractor in opened
        }
        # Spatial features for one protocol come from the same forward pass for all.
        spatial = {
            dataclasses.replace(v, spatial=False) for v in preprocessings.values() if v.spatial
        }
        return {
            name: dataclasses.replace(
                preprocessing, spatial=preprocessing.spatial or preprocessing in spatial
            )
            for name, preprocessing in preprocessings.items()
        }

    def pairing(
        self,
        protocol: Protocol,
        preprocessing: Preprocessing,
        generated: ExtractedFeatures,
        reference: Reference,
    ) -> Pairing | None:
        """Return by what images are paired with those of other evaluations, where that is wanted."""
        if self.keep is None or protocol.name != OWN:
            return None
        real = reference.extracted
        return Pairing(
            images=name_of_rows(self.generated, generated),
            reference=""
            if real is None or self.reference is None
            else digest([preprocessing.identity, name_of_rows(self.reference, real)])[:24],
            keep=self.keep,
        )

    def how(
        self,
        protocol: Protocol,
        preprocessing: Preprocessing,
        generated: ExtractedFeatures,
        reference: Reference,
    ) -> dict[str, Any]:
        """Return how the numbers of a protocol were made."""
        extracted = reference.extracted
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
        count = reference.count
        return {
            "protocol": protocol.name,
            "extractor": dict(preprocessing.extractor.identity)
            | {"resize": preprocessing.resize, "scale": preprocessing.scale},
            "reading": preprocessing.reading,
            "quantization": preprocessing.quantization,
            "generated": len(generated.statistics),
            "images": dict(self.generated.identity),
            "real": None if count == MANY else count,
            "reference": about,
            "unreadable": [len(generated.bad), 0 if extracted is None else len(extracted.bad)],
            "left_out": [
                *generated.bad.values(),
                *({} if extracted is None else extracted.bad).values(),
            ][:SHOWN],
            "converted": [
                dict(generated.notes),
                {} if extracted is None else dict(extracted.notes),
            ],
        }

    def of_classes(
        self,
        protocol: Protocol,
        extractor: FeatureExtractor,
        generated: ExtractedFeatures,
        reference: Reference,
        how: Mapping[str, Any],
    ) -> Iterator[Reading]:
        """Yield one Frechet distance per class."""
        names = MetricNames(protocol.name, extractor)
        mine, theirs = self.per_class or (None, None)
        if mine is None or theirs is None or reference.extracted is None:
            where = "generated images" if mine is None else "reference"
            reason = f"the {where} have no class labels (dataset.json)"
            yield Reading(metric=names.per_class("?"), reason=reason)
            return
        if protocol.frechet is None or extractor.identity["features"] is None:
            return
        own = np.asarray(mine)[position(self.generated, generated)]
        real = np.asarray(theirs)[position(self.reference, reference.extracted)]
        for label in sorted(set(real.tolist()) | set(own.tolist())):
            part, others = (
                of_rows(generated, own == label),
                of_rows(reference.extracted, real == label),
            )
            counts = len(part.statistics), len(others.statistics)
            metric = names.per_class(str(label))
            if min(counts) < 2:  # noqa: PLR2004  # a covariance needs two
                reason = f"class {label}: {counts[0]} generated, {counts[1]} real; 2 of each needed"
                yield Reading(metric=metric, reason=reason)
                continue
            told = dict(how) | {"generated": counts[0], "real": counts[1], "class": label}
            evaluation = Evaluation(protocol, extractor, part, self.against(others, None), told)
            yield dataclasses.replace(evaluation.frechet(protocol.frechet), metric=metric)


def distinct(preprocessings: Mapping[str, Preprocessing]) -> list[Preprocessing]:
    """Return the different ones of the preprocessings."""
    return list(dict.fromkeys(preprocessings.values()))


def of_rows(extracted: ExtractedFeatures, marks: np.ndarray) -> ExtractedFeatures:
    """Return the features of the marked images."""
    statistics = extracted.statistics
    return dataclasses.replace(
        extracted,
        statistics=FeatureStatistics(
            indices=statistics.indices[marks], features=statistics.features[marks]
        ),
        spatial=None,
    )


def view_of(protocol: Protocol, extractor: FeatureExtractor, *, floating: bool) -> Preprocessing:
    """Return a protocol's way from images to this extractor's features."""
    inception = extractor.name.startswith(INCEPTION)
    return Preprocessing(
        extractor=extractor,
        # Images that a generator hands over were in no file.
        reading="upright" if floating else protocol.reading,
        quantization=protocol.quantization if floating else BYTES,
        resize=extractor.resize if protocol.resize == OWN_RESIZE else protocol.resize,
        # The scale applies to Inception only; other networks have their own.
        scale=protocol.scale if inception else "own",
        spatial=protocol.more.spatial and inception,
    )


def position(image_set: Any, extracted: ExtractedFeatures) -> np.ndarray:
    """Return the position of each processed image among those requested."""
    return np.searchsorted(np.asarray(image_set.indices), extracted.statistics.indices)


def name_of_rows(image_set: ImageSet, extracted: ExtractedFeatures) -> str:
    """Return a name that is equal for equal images, or for images of equal seeds."""
    numbers = hashlib.sha256(extracted.statistics.indices.tobytes()).hexdigest()
    identity = dict(image_set.identity)
    if "first_seed" in identity:
        return digest(["seeds", numbers])[:24]
    dataset = {k: v for k, v in identity.get("dataset", identity).items() if k != "name"}
    return digest([dataset, numbers])[:24]


def missing(protocol: Protocol, extractor: str, reason: str) -> Reading:
    """Return the null reading of a protocol whose extractor is unavailable."""
    absent = Absent(name=extractor, standard=extractor in {INCEPTION, AUTO})
    names = MetricNames(protocol.name, absent)
    metric = names.cmmd if protocol.more.cmmd else names.frechet
    if protocol.frechet is None and protocol.neighbors is not None:
        metric = names.neighbors["precision"]
    return Reading(metric=metric, reason=reason)


def misfit(reference: ReferenceFile, preprocessing: Preprocessing) -> str | None:
    """Return why a statistics file does not belong to this preprocessing, or None.

    Raises UsageError for another number of features, DataError for another network's digest: that
    file belongs to no protocol with this extractor.
    """
    extractor = preprocessing.extractor
    if extractor.identity["features"] is None:
        return "the reference has only moments; images are needed"
    width, wanted = len(reference.moments.mean), extractor.identity["features"]
    if width != wanted:
        msg = f"expected {wanted} features by {extractor.name}, found {width} in the reference"
        raise UsageError(msg)
    told = reference.about.get("extractor", {})
    digest = told.get("weights_sha256")
    if digest not in {None, extractor.identity["weights_sha256"]}:
        msg = f"the reference was made with weights {digest[:12]}…, not with {extractor.name}'s"
        raise DataError(msg)
    for name, here in (("resize", preprocessing.resize), ("scale", preprocessing.scale)):
        there = told.get(name, here)
        if there != here:
            return f"the statistics file was made with {name} {there}, this protocol uses {here}"
    return None
