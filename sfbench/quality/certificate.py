"""Images and features of one side of a certificate, drawn from the same seeds as the other's."""

from __future__ import annotations

import dataclasses
import math
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

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
from sfbench.quality.features import Progress
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
    backend = find_backend(case.device)
    with kept_settings(), torch.inference_mode(), tempfile.TemporaryDirectory() as folder:
        set_policy(backend, case.dtype, case.threads)
        plain = build(spec, case, case.device)
        generator = execution.prepared(plain, case.mode, contract.module_of(plain), backend)
        dataset = open_dataset(case.data, case.size)
        labels = parse_labels(case.labels)
        follow_labels(generator, labels, dataset)
        first = contract.check_images(generator, case.size)
        tolerance = contract.batch_tolerance(case.dtype)
        contract.check_batch_independence(generator, first, tolerance)
        seeds = range(case.seed, case.seed + min(shown, case.samples))
        parts = [
            contract.draw(generator, seeds[start : start + case.batch])
            for start in range(0, len(seeds), case.batch)
        ]
        probe = QualityProbe(
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
        comparison = probe.comparison(generator, Path(folder))
        features, real, metric = features_of(comparison)
    return Side(features, torch.cat(parts), real, metric)


def features_of(comparison: Comparison) -> tuple[Rows, Rows, str]:
    """Return features of generated and real images by this project's protocol, and the metric."""
    opened, _ = comparison.opened()
    name = read_protocol(OWN).name
    mine = comparison.preprocessings(opened, floating=True)[name]
    assert comparison.reference is not None  # noqa: S101  # the probe's real images
    theirs = comparison.preprocessings(opened, floating=False)[name]
    comparison.forward.ensure(comparison.generated, [mine], comparison.stores[0])
    comparison.forward.ensure(comparison.reference, [theirs], comparison.stores[1])
    generated = comparison.generated_features(mine).statistics
    real = comparison.reference_of(theirs, None, refused=False).extracted
    assert real is not None  # noqa: S101  # images, not a file of statistics
    metric = MetricNames(name, mine.extractor).frechet
    # Copies: the folder of the generated ones goes away.
    return np.array(generated.features), np.array(real.statistics.features), metric
