"""The quality probe: seeds -> images -> bytes -> features -> statistics -> metrics.

Real and generated images go down the same path and differ only in where their bytes come from.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sfbench.api.protocols import Dataset, FeatureExtractor, ImageGenerator
from sfbench.contract import check_finite
from sfbench.device import strict_precision
from sfbench.pixels import QUANTISATION, to_bytes, to_rgb
from sfbench.plan import Source
from sfbench.quality.frechet import frechet_distance
from sfbench.quality.inception_score import SPLITS, inception_score
from sfbench.quality.kernel import kernel_distance
from sfbench.quality.statistics import FeatureStatistics, merged
from sfbench.quality.weights import BUILT_IN
from sfbench.records import Reading

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many images are done, and of how many."""

FEW = 2


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class QualityProbe:
    """Compares `samples` generated images (seeds `seed`, `seed` + 1, ...) with real ones."""

    dataset: Dataset
    extractor: FeatureExtractor
    samples: int
    seed: int
    batch: int
    progress: Progress

    def __call__(self, generator: ImageGenerator) -> Iterator[Reading]:
        """Yield the distances; null with the reason where there are too few images."""
        shortage = self.shortage(generator)
        if shortage is not None:
            yield from self.nothing(shortage)
            return
        real = self.statistics("real images", self.real_batches())
        generated = self.statistics("generated images", self.generated_batches(generator))
        yield from self.readings(generated, real)

    def shortage(self, generator: ImageGenerator) -> str | None:
        """Return why there are too few images, or None."""
        there: Any = generator
        if hasattr(generator, "__len__") and self.seed + self.samples > len(there):
            return f"{self.samples} images asked for, {len(there)} given: use --samples"
        if self.samples < FEW:
            return f"{self.samples} images asked for, at least {FEW} needed"
        return None

    @property
    def reference_count(self) -> int:
        """How many real images are used: as many as generated ones, if there are."""
        return min(self.samples, len(self.dataset))

    def real_batches(self) -> Iterator[tuple[list[int], Tensor]]:
        """Yield numbers and bytes of real images, chosen by a seeded shuffle of all."""
        order = np.random.RandomState(self.seed).permutation(len(self.dataset))
        indices = sorted(int(index) for index in order[: self.reference_count])
        start = 0
        for pixels in self.dataset.batches(indices, self.batch):
            yield indices[start : start + len(pixels)], pixels
            start += len(pixels)

    def generated_batches(self, generator: ImageGenerator) -> Iterator[tuple[list[int], Tensor]]:
        """Yield numbers and bytes of generated images: image i is that of seed i."""
        last = self.seed + self.samples
        for start in range(self.seed, last, self.batch):
            seeds = list(range(start, min(start + self.batch, last)))
            images = generator.synthesize(generator.draw_latents(seeds))
            check_finite(images)
            yield seeds, to_rgb(to_bytes(images))

    def statistics(
        self, what: str, batches: Iterable[tuple[list[int], Tensor]]
    ) -> FeatureStatistics:
        """Return the feature statistics of all batches."""
        total = self.reference_count if what.startswith("real") else self.samples
        parts, done = [], 0
        with torch.inference_mode():
            for numbers, pixels in batches:
                with strict_precision():
                    seen = self.extractor(pixels)
                logits = None if seen.logits is None else seen.logits.cpu().numpy()
                parts.append(FeatureStatistics.of(numbers, seen.pooled.cpu().numpy(), logits))
                done += len(numbers)
                self.progress(what, done, total)
        return merged(parts)

    def readings(self, generated: FeatureStatistics, real: FeatureStatistics) -> Iterator[Reading]:
        """Yield every distance with how it was made."""
        how = self.how(generated, real)
        names = metric_names(self.extractor)
        value = frechet_distance(generated.moments(), real.moments())
        few = min(len(generated), len(real)) <= generated.features.shape[1]
        yield Reading(
            metric=names["frechet"],
            unit="",
            value=value,
            how=how
            | {"estimator": "Cholesky + eigvalsh or SVD, float64, ddof 1"}
            | ({"warning": "fewer images than features: biased upwards"} if few else {}),
        )
        kernel = kernel_distance(generated.features, real.features)
        yield Reading(
            metric=names["kernel"],
            unit="",
            value=kernel.mean,
            how=how
            | {
                "estimator": "unbiased, cubic kernel, subsets as torch-fidelity",
                "deviation": kernel.deviation,
                "subsets": kernel.subsets,
                "subset_size": kernel.subset_size,
            },
        )
        yield from self.inception_scores(generated, how)

    def inception_scores(
        self, generated: FeatureStatistics, how: dict[str, Any]
    ) -> Iterator[Reading]:
        """Yield the Inception Score, and what is missing without the standard weights."""
        if not self.extractor.standard:
            reason = f"extractor {self.extractor.name} is not Inception-v3 with published weights"
            yield from (Reading(metric=name, unit="", reason=reason) for name in NAMES)
        elif generated.logits is None or len(generated) < SPLITS:
            yield Reading(metric="is", unit="", reason=f"fewer than {SPLITS} images")
        else:
            score = inception_score(generated.logits)
            estimator = {"splits": score.splits, "deviation": score.deviation, "shuffled": True}
            yield Reading(metric="is", unit="", value=score.mean, how=how | estimator)

    def how(self, generated: FeatureStatistics, real: FeatureStatistics) -> dict[str, Any]:
        """Return how the numbers were made."""
        return {
            "extractor": dict(self.extractor.identity),
            "quantisation": QUANTISATION,
            "generated": len(generated),
            "first_seed": self.seed,
            "real": len(real),
            "reference": dict(self.dataset.identity),
        }

    def nothing(self, reason: str) -> Iterator[Reading]:
        """Yield every metric without a value."""
        for name in dict.fromkeys((*metric_names(self.extractor).values(), "is")):
            yield Reading(metric=name, unit="", reason=reason)


NAMES = ("fid", "kid", "is")


def metric_names(extractor: FeatureExtractor) -> dict[str, str]:
    """Return what distances in this extractor's features may be called."""
    if extractor.standard:
        return {"frechet": "fid", "kernel": "kid"}
    return {"frechet": f"fd[{extractor.name}]", "kernel": f"kd[{extractor.name}]"}


def open_extractor(source: Source, device: str) -> FeatureExtractor:
    """Return the extractor of a plan's source."""
    if source.kind == BUILT_IN:
        from sfbench.quality.untrained import UntrainedExtractor  # one of two

        return UntrainedExtractor(device)
    from sfbench.quality.inception import InceptionExtractor  # slow

    return InceptionExtractor(Path(str(source.path)), str(source.sha256), device)
