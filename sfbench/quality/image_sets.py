"""Sets of images to evaluate: real ones by number, generated ones by seed."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from sfbench.api.errors import DataError, UsageError
from sfbench.api.protocols import Dataset, ImageGenerator, Picture
from sfbench.data.sources import check_source
from sfbench.generators.contract import check_finite
from sfbench.values.case import Source
from sfbench.values.pixels import to_rgb


@runtime_checkable
class ImageSet(Protocol):
    """Images to evaluate: real ones, or generated from seeds."""

    @property
    def floating(self) -> bool:
        """Whether pixels are floats in [-1, 1] to quantize, not bytes."""
        ...

    @property
    def what(self) -> str:
        """The images' name in progress and error messages."""
        ...

    @property
    def identity(self) -> Mapping[str, Any]:
        """What the images are: equal identities mean equal images."""
        ...

    @property
    def indices(self) -> Sequence[int]:
        """The numbers of the images."""
        ...

    @property
    def code(self) -> Sequence[str]:
        """Modules that read the images, whose code decides their pixels."""
        ...

    def read(self, indices: Sequence[int]) -> Iterator[tuple[int, Picture | DataError]]:
        """Yield each image, or the error in reading it."""
        ...

    def check_unchanged(self) -> None:
        """Raise DataError if the images are no longer what `identity` says."""
        ...


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RealImages:
    """Images of a dataset by number; `source`: the files they come from, which must not change."""

    dataset: Dataset
    indices: Sequence[int]
    what: str = "real images"
    floating: bool = False
    source: Source | None = None

    def check_unchanged(self) -> None:
        """Raise DataError if the files have changed since they were located."""
        check_source(self.source)

    @property
    def code(self) -> Sequence[str]:
        """The module of the dataset, and those that it reads with."""
        return (type(self.dataset).__module__, *getattr(self.dataset, "code", ()))

    @property
    def identity(self) -> Mapping[str, Any]:
        """What the images are."""
        return {"dataset": dict(self.dataset.identity), "images": indices_identity(self.indices)}

    def read(self, indices: Sequence[int]) -> Iterator[tuple[int, Picture | DataError]]:
        """Yield each image, or the error in reading it."""
        for index in indices:
            try:
                yield index, self.dataset.read(index)
            except DataError as error:
                yield index, error


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedImages:
    """Images of a generator by seed; `identity` says what generator."""

    generator: ImageGenerator
    indices: Sequence[int]
    batch: int
    identity: Mapping[str, Any]
    what: str = "generated images"
    floating: bool = True
    code: Sequence[str] = ()

    def check_unchanged(self) -> None:
        """Do nothing: they come from no file that is read again."""

    def read(self, indices: Sequence[int]) -> Iterator[tuple[int, Picture | DataError]]:
        """Yield each image."""
        for start in range(0, len(indices), self.batch):
            seeds = indices[start : start + self.batch]
            images = self.generator.synthesize(self.generator.draw_latents(seeds))
            check_finite(images)
            yield from zip(seeds, map(Picture, to_rgb(images)), strict=True)


def indices_identity(indices: Sequence[int]) -> str:
    """Return which images were chosen: a range, or a count and the digest of their numbers."""
    if list(indices) == list(range(indices[0], indices[0] + len(indices))):
        return f"{indices[0]}..{indices[-1]}"
    numbers = np.asarray(indices, np.int64).tobytes()
    return f"{len(indices)} chosen, sha256 {hashlib.sha256(numbers).hexdigest()}"


def chosen(there: int, wanted: int | None, seed: int) -> list[int]:
    """Return the sorted numbers of at most `wanted` images, a seeded random sample.

    Raises UsageError if there are none.
    """
    if there < 1 or (wanted is not None and wanted < 1):
        found = f"--samples {wanted}" if there else "no images"
        msg = f"{found}: at least 1 image is needed"
        raise UsageError(msg)
    if wanted is None or wanted >= there:
        return list(range(there))
    order = np.random.RandomState(seed).permutation(there)[:wanted]
    return sorted(int(index) for index in order)
