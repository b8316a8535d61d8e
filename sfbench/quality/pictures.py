"""Sets of images to be seen: real ones by number, generated ones by seed."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from sfbench.api.errors import DataError, UsageError
from sfbench.api.protocols import Dataset, ImageGenerator, Picture
from sfbench.generators.contract import check_finite
from sfbench.values.pixels import to_rgb


@runtime_checkable
class Pictures(Protocol):
    """Images to be seen: real ones, or generated from seeds."""

    @property
    def floating(self) -> bool:
        """Whether pixels are floats in [-1, 1], to be quantised, and not bytes."""
        ...

    @property
    def what(self) -> str:
        """What the images are called in progress and errors."""
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
        """Yield each image, or what is wrong with it."""
        ...


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RealPictures:
    """Images of a dataset by number."""

    dataset: Dataset
    indices: Sequence[int]
    what: str = "real images"
    floating: bool = False

    @property
    def code(self) -> Sequence[str]:
        """The module of the dataset, and those that it reads with."""
        return (type(self.dataset).__module__, *getattr(self.dataset, "code", ()))

    @property
    def identity(self) -> Mapping[str, Any]:
        """What the images are."""
        return {"dataset": dict(self.dataset.identity), "images": indices_identity(self.indices)}

    def read(self, indices: Sequence[int]) -> Iterator[tuple[int, Picture | DataError]]:
        """Yield each image, or what is wrong with it."""
        for index in indices:
            try:
                yield index, self.dataset.read(index)
            except DataError as error:
                yield index, error


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedPictures:
    """Images of a generator by seed; `identity` says what generator."""

    generator: ImageGenerator
    indices: Sequence[int]
    batch: int
    identity: Mapping[str, Any]
    what: str = "generated images"
    floating: bool = True
    code: Sequence[str] = ()

    def read(self, indices: Sequence[int]) -> Iterator[tuple[int, Picture | DataError]]:
        """Yield each image."""
        for start in range(0, len(indices), self.batch):
            seeds = indices[start : start + self.batch]
            images = self.generator.synthesize(self.generator.draw_latents(seeds))
            check_finite(images)
            yield from zip(seeds, map(Picture, to_rgb(images)), strict=True)


def indices_identity(indices: Sequence[int]) -> str:
    """Return which images are meant: a range, or how many and the digest of their numbers."""
    if list(indices) == list(range(indices[0], indices[0] + len(indices))):
        return f"{indices[0]}..{indices[-1]}"
    numbers = np.asarray(indices, np.int64).tobytes()
    return f"{len(indices)} chosen, sha256 {hashlib.sha256(numbers).hexdigest()}"


def chosen(there: int, wanted: int | None, seed: int) -> list[int]:
    """Return the numbers of at most `wanted` of the images, a seeded choice, in order.

    Raises UsageError where that is none.
    """
    if there < 1 or (wanted is not None and wanted < 1):
        found = f"--samples {wanted}" if there else "no images"
        msg = f"{found}: at least 1 image is needed"
        raise UsageError(msg)
    if wanted is None or wanted >= there:
        return list(range(there))
    order = np.random.RandomState(seed).permutation(there)[:wanted]
    return sorted(int(index) for index in order)
