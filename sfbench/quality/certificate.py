"""Images and features of one side of a certificate, drawn from the same seeds as the other's."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sfbench.api.errors import DataError
from sfbench.api.labels import parse_labels
from sfbench.api.protocols import FeatureExtractor
from sfbench.api.spec import GeneratorSpec
from sfbench.data.sources import open_dataset
from sfbench.generators import contract, execution
from sfbench.generators.building import build
from sfbench.hardware.devices import find_backend
from sfbench.hardware.policy import kept_settings, set_policy
from sfbench.quality.class_labels import follow_labels
from sfbench.quality.comparison import Comparison
from sfbench.quality.features import Preprocessing, Progress
from sfbench.quality.names import MetricNames
from sfbench.quality.probe import QualityProbe
from sfbench.quality.protocols import OWN, read_protocol
from sfbench.quality.statistics import Rows
from sfbench.values.case import Case
from sfbench.values.pixels import to_bytes

LEVELS = 255.0


@dataclasses.dataclass(frozen=True, slots=True)
class Side:
    """One generator: its features [images, D], its first images, and features of real images."""

    features: Rows
    images: Tensor
    real: Rows
    metric: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ImageDifference:
    """How far images of the same seeds are apart.

    `largest`: the largest absolute difference over the largest absolute value. `psnr`: in dB, of
    8-bit images; None if they are equal. `levels`: the largest difference of a pixel, 0 to 255.
    """

    images: int
    identical: bool
    largest: float
    psnr: float | None
    levels: int


def image_difference(first: Tensor, second: Tensor) -> ImageDifference:
    """Return how far images [batch, channels, height, width] in [-1, 1] differ."""
    apart = to_bytes(first).int() - to_bytes(second).int()
    error = apart.double().square().mean().item()
    return ImageDifference(
        images=len(first),
        identical=torch.equal(first, second),
        largest=contract.relative_difference(first, second),
        psnr=10 * math.log10(LEVELS**2 / error) if error else None,
        levels=int(apart.abs().max()),
    )


def drawn_side(
    spec: GeneratorSpec,
    case: Case,
    open_extractor: Callable[[], FeatureExtractor],
    *,
    shown: int,
    store: Path,
    progress: Progress,
) -> Side:
    """Return a side: `case.samples` images in its own precision and mode; the first `shown` are kept.

    Features of real images are kept in `store`.
    """
    opened = OpenSide(spec, case, open_extractor, store=store, progress=progress)
    images = opened.images(min(shown, case.samples))
    return Side(opened.features(case.samples), images, opened.real, opened.metric)


class OpenSide:
    """A generator that is built, of whose images more can be drawn.

    At most `case.samples` are; as many real images are taken. Each call sets the side's own
    precision and threads, so that two sides may be open at once.
    """

    def __init__(
        self,
        spec: GeneratorSpec,
        case: Case,
        open_extractor: Callable[[], FeatureExtractor],
        *,
        store: Path,
        progress: Progress,
    ) -> None:
        self.case = case
        self.backend = find_backend(case.device)
        with self.settings():
            plain = build(spec, case, case.device)
            module = contract.module_of(plain)
            self.generator = execution.prepared(plain, case.mode, module, self.backend)
            dataset = open_dataset(case.data, case.size)
            labels = parse_labels(case.labels)
            follow_labels(self.generator, labels, dataset)
            first = contract.check_images(self.generator, case.size)
            tolerance = contract.batch_tolerance(case.dtype)
            contract.check_batch_independence(self.generator, first, tolerance)
            self.probe = QualityProbe(
                dataset=dataset,
                extractor=open_extractor(),
                samples=case.samples,
                seed=case.seed,
                batch=case.batch,
                device=case.device,
                store=store,
                progress=progress,
                labels=labels,
            )
            self.real, self.metric = self.reference()
        self.drawn = self.real[:0]

    @contextlib.contextmanager
    def settings(self) -> Iterator[None]:
        """Compute in the side's precision, with its threads, without gradients."""
        with kept_settings(), torch.inference_mode():
            set_policy(self.backend, self.case.dtype, self.case.threads)
            yield

    def images(self, count: int) -> Tensor:
        """Return the images [count, channels, height, width] of the first seeds."""
        case = self.case
        seeds = range(case.seed, case.seed + count)
        with self.settings():
            parts = [
                contract.draw(self.generator, seeds[start : start + case.batch])
                for start in range(0, count, case.batch)
            ]
            return torch.cat(parts)

    def features(self, count: int) -> Rows:
        """Return features [count, D] of the first seeds; what was drawn before is not drawn again.

        Features are the same in one call as in several, each to a whole batch of features.
        """
        done = len(self.drawn)
        if count > done:
            with self.settings(), tempfile.TemporaryDirectory() as folder:
                part = dataclasses.replace(
                    self.probe, seed=self.case.seed + done, samples=count - done
                )
                comparison = part.comparison(self.generator, Path(folder))
                _, mine, _ = preprocessings_of(comparison)
                found = comparison.forward.extract(
                    comparison.generated, mine, comparison.stores[0], logits=False
                )
                if found.bad:
                    raise DataError(next(iter(found.bad.values())))
                self.drawn = np.concatenate([self.drawn, found.statistics.features])
        return self.drawn[:count]

    def reference(self) -> tuple[Rows, str]:
        """Return features of real images by this project's protocol, and the metric's name."""
        with tempfile.TemporaryDirectory() as folder:
            comparison = self.probe.comparison(self.generator, Path(folder))
            name, _, theirs = preprocessings_of(comparison)
            assert comparison.reference is not None  # noqa: S101  # the probe's real images
            real = comparison.forward.extract(
                comparison.reference, theirs, comparison.stores[1], logits=False
            )
            metric = MetricNames(name, theirs.extractor).frechet
            return np.array(real.statistics.features), metric


def preprocessings_of(comparison: Comparison) -> tuple[str, Preprocessing, Preprocessing]:
    """Return this project's protocol, and its ways from generated and from real images."""
    opened, _ = comparison.opened()
    name = read_protocol(OWN).name
    return (
        name,
        comparison.preprocessings(opened, floating=True)[name],
        comparison.preprocessings(opened, floating=False)[name],
    )
