"""The quality probe of a trial: generated images against a data set, by this project's own protocol.

Real and generated images take the same path and differ only in where their bytes come from.
"""

from __future__ import annotations

import dataclasses
import functools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sfbench.api.labels import Labels
from sfbench.api.protocols import Dataset, FeatureExtractor, ImageGenerator
from sfbench.quality.class_labels import classes_of, follow_labels
from sfbench.quality.comparison import Comparison
from sfbench.quality.feature_store import FeatureStore, shard_numbers
from sfbench.quality.features import FeaturePass, Progress
from sfbench.quality.image_sets import GeneratedImages, RealImages, chosen
from sfbench.quality.influence_files import keep_influences
from sfbench.quality.names import MetricNames
from sfbench.quality.protocols import OWN, read_protocol
from sfbench.store.claims import Claims
from sfbench.values.case import Source
from sfbench.values.job import OPEN
from sfbench.values.messages import counted
from sfbench.values.records import Reading

FEW = 2


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class QualityProbe:
    """Compares `samples` generated images (seeds `seed`, `seed` + 1, ...) with real ones.

    Features of real images are cached in `store`; those of generated ones are not, unless there are
    many: then they are kept in `shards`, which other processes help to fill, by `claims`.
    """

    dataset: Dataset
    extractor: FeatureExtractor
    samples: int
    seed: int
    batch: int
    device: str
    store: Path
    progress: Progress
    labels: Labels = dataclasses.field(default_factory=Labels)
    claims: Claims | None = None
    shards: Path | None = None
    influences: Path | None = None
    """The store that keeps the influence of each image; None: nobody will pair them."""
    source: Source | None = None
    """The files of the real images, which must not change meanwhile."""
    fingerprints: dict[int, bytes] = dataclasses.field(default_factory=dict)
    """Of generated images by seed, filled in when they are judged."""

    def __call__(self, generator: ImageGenerator) -> Iterator[Reading]:
        """Yield every metric; null with the reason if there are too few images.

        Labels of generated images follow the rule; of one class, real images are of that class,
        too. Raises UnsupportedError for a rule that the generator or the data cannot follow.
        """
        labels = follow_labels(generator, self.labels, self.dataset)
        for reading in self.readings(generator):
            how = reading.how if labels is None else {**reading.how, "labels": labels}
            yield dataclasses.replace(reading, how=how)

    def readings(self, generator: ImageGenerator) -> Iterator[Reading]:
        """Yield every metric of a generator that draws labels as it should."""
        shortage = self.shortage(generator)
        if shortage is not None:
            names = MetricNames(OWN, self.extractor)
            for metric in (names.frechet, names.kernel, names.score):
                yield Reading(metric=metric, reason=shortage)
            return
        if self.is_shared():
            yield from self.comparison(generator, Path(str(self.shards))).readings()
            return
        with tempfile.TemporaryDirectory(prefix="sfbench-features-") as folder:
            yield from self.comparison(generator, Path(folder)).readings()

    def is_shared(self) -> bool:
        """Return whether other processes help."""
        return self.shards is not None and len(shard_numbers(self.samples)) > 1

    def help_out(self, generator: ImageGenerator) -> None:
        """Compute parts of the features that no other process computes, for one that evaluates."""
        follow_labels(generator, self.labels, self.dataset)
        self.comparison(generator, Path(str(self.shards)), patient=False).fill()

    def is_wanted(self) -> bool:
        """Return whether the process that evaluates still waits for parts."""
        return self.shards is not None and (self.shards / OPEN).exists()

    def comparison(
        self, generator: ImageGenerator, folder: Path, *, patient: bool = True
    ) -> Comparison:
        """Return the comparison; features of generated images are kept in `folder`."""
        return Comparison(
            generated=GeneratedImages(
                generator=generator,
                indices=range(self.seed, self.seed + self.samples),
                batch=self.batch,
                identity={"first_seed": self.seed, "images": self.samples},
            ),
            reference=RealImages(
                dataset=self.dataset, indices=self.real_indices(), source=self.source
            ),
            protocols=[read_protocol(OWN)],
            open_extractor=lambda _: self.extractor,
            forward=FeaturePass(
                progress=self.progress,
                device=self.device,
                claims=self.claims if self.is_shared() else None,
                patient=patient,
                is_wanted=(lambda: True) if patient else self.is_wanted,
            ),
            stores=(FeatureStore(folder), FeatureStore(self.store)),
            extractor=self.extractor.name,
            fingerprints=self.fingerprints,
            keep=None
            if self.influences is None
            else functools.partial(keep_influences, self.influences),
        )

    def shortage(self, generator: ImageGenerator) -> str | None:
        """Return why there are too few images, or None."""
        there: Any = generator
        if hasattr(generator, "__len__") and self.seed + self.samples > len(there):
            asked = counted(self.samples, "image")
            return f"{asked} requested, {len(there):,} available; use --samples"
        if self.samples < FEW:
            return f"{counted(self.samples, 'image')} requested, at least {FEW} needed"
        return None

    def real_indices(self) -> list[int]:
        """Return as many real images as generated ones, if available, by a seeded shuffle."""
        if self.labels.rule != "class":
            return chosen(len(self.dataset), self.samples, self.seed)
        every = range(len(self.dataset))
        of_class = [
            i
            for i, k in zip(every, classes_of(self.dataset), strict=True)
            if k == self.labels.number
        ]
        return [of_class[place] for place in chosen(len(of_class), self.samples, self.seed)]
