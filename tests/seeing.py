"""An extractor of a few numbers and images to show it, for the tests of quality."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from sfbench.api.protocols import Features
from sfbench.data.shapes import ShapesDataset
from sfbench.quality.comparison import Comparison
from sfbench.quality.feature_store import FeatureStore
from sfbench.quality.features import FeaturePass, Preprocessing
from sfbench.quality.image_sets import RealImages
from sfbench.quality.protocols import read_protocol
from sfbench.values.records import Reading
from sfbench.values.sizes import square


class Means:
    """Sees an image as the mean colors of its four quarters, and counts what it is shown."""

    name = "means"
    standard = False
    side = 8
    resize = "pil-bicubic"

    def __init__(self) -> None:
        self.identity: dict[str, Any] = {
            "name": "means",
            "weights_sha256": "0" * 64,
            "features": 12,
        }
        self.images = 0

    def __call__(self, images: torch.Tensor) -> Features:
        self.images += len(images)
        pooled = torch.nn.functional.avg_pool2d(images, 4).flatten(1)
        return Features(pooled, pooled[:, :5] / 10)


def forward(**arguments: Any) -> FeaturePass:
    return FeaturePass(progress=lambda *_: None, device="cpu", **arguments)


def scenes(first: int, count: int, side: int = 16) -> RealImages:
    return RealImages(dataset=ShapesDataset(square(side)), indices=range(first, first + count))


def preprocessing(extractor: Means, resize: str = "pil-bicubic") -> Preprocessing:
    return Preprocessing(extractor, "bytes", resize)


def compared(
    extractor: Means, folder: Path, protocols: Sequence[str], **arguments: Any
) -> list[Reading]:
    store = FeatureStore(folder / "store")
    sets: dict[str, Any] = {"generated": scenes(0, 60), "reference": scenes(500, 70)}
    comparison = Comparison(
        **(sets | arguments),
        protocols=[read_protocol(name) for name in protocols],
        open_extractor=lambda _: extractor,
        forward=forward(),
        stores=(store, store),
        extractor="means",
    )
    return list(comparison.readings())
