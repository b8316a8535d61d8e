"""Reference statistics of a set of images: mean and covariance by a protocol, ready to be shared."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sfbench.api.protocols import FeatureExtractor
from sfbench.quality.comparison import view_of
from sfbench.quality.feature_store import FeatureStore
from sfbench.quality.features import FeaturePass
from sfbench.quality.image_sets import ImageSet
from sfbench.quality.protocols import Protocol
from sfbench.quality.reference_file import write_reference
from sfbench.quality.statistics import Moments, moments_of


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ImageStatistics:
    """Moments of features (and of spatial ones, if the protocol has them), and their provenance."""

    moments: Moments
    spatial: Moments | None
    about: Mapping[str, Any]
    unreadable: tuple[str, ...]

    def write(self, path: Path) -> None:
        """Write them in the format of other packages."""
        write_reference(path, self.moments, self.about, self.spatial)

    def told(self, path: Path | None) -> str:
        """Return a one-line summary of what they are and where they were stored."""
        about = self.about
        place = "kept in the feature store" if path is None else f"written to {path}"
        return (
            f"{self.moments.count:,} images of {about['name']}: {about['extractor']['name']}, "
            f"{len(self.moments.mean)} features, protocol {about['protocol']}; {place}"
        )


def image_statistics(
    image_set: ImageSet,
    protocol: Protocol,
    extractor: FeatureExtractor,
    forward: FeaturePass,
    store: FeatureStore,
) -> ImageStatistics:
    """Return the statistics of the images by a protocol."""
    preprocessing = view_of(protocol, extractor, floating=image_set.floating)
    extracted = forward.extract(image_set, preprocessing, store, logits=False)
    dataset = image_set.identity["dataset"]
    return ImageStatistics(
        unreadable=tuple(extracted.bad.values()),
        # Divided by N - 1, as every package that reads such files divides.
        moments=moments_of(extracted.statistics.features),
        spatial=None if extracted.spatial is None else moments_of(extracted.spatial),
        about={
            "name": dataset["name"],
            "sha256": dataset["sha256"],
            "images": image_set.identity["images"],
            "count": len(extracted.statistics),
            "unreadable": len(extracted.bad),
            "protocol": protocol.name,
            "ddof": 1,
            "extractor": dict(extractor.identity)
            | {"resize": preprocessing.resize, "scale": preprocessing.scale},
        },
    )
