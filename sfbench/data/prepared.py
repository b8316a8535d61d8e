"""Prepared images, mapped into memory, and as a dataset."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sfbench.api.errors import DataError
from sfbench.api.protocols import Picture
from sfbench.data.array_files import map_array
from sfbench.data.prepared_folder import IMAGES, LABELS, read_meta

NDIM = 4


class PreparedImages:
    """The images of a prepared folder; raises DataError for anything else.

    `pixels` is mapped, not read: processes share one copy, in the system's cache.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.meta = read_meta(folder)
        try:
            self.pixels: NDArray[np.uint8] = map_array(folder / IMAGES)
            labels = folder / LABELS
            self.labels: NDArray[np.int64] = (
                np.array(map_array(labels)) if labels.exists() else np.zeros(0, np.int64)
            )
        except (OSError, ValueError) as error:
            msg = f"{folder}: damaged ({error}); build it again with sfbench data build"
            raise DataError(msg) from None
        if self.pixels.dtype != np.uint8 or self.pixels.ndim != NDIM or not len(self.pixels):
            msg = f"{folder}: {IMAGES} is {self.pixels.dtype} {self.pixels.shape}; expected images"
            raise DataError(msg)
        if len(self.labels) not in {0, len(self.pixels)}:
            msg = f"{folder}: {len(self.labels)} labels for {len(self.pixels)} images"
            raise DataError(msg)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.pixels)

    @property
    def resolution(self) -> int:
        """Side of the images, in pixels."""
        return int(self.pixels.shape[3])

    @property
    def channels(self) -> int:
        """3 for color, 1 for gray."""
        return int(self.pixels.shape[1])

    @property
    def classes(self) -> int:
        """Number of classes; 0 without labels."""
        return int(self.labels.max()) + 1 if len(self.labels) else 0

    @property
    def sha256(self) -> str:
        """Digest of pixels and labels at the time they were written."""
        return str(self.meta["sha256"])


class PreparedDataset:
    """Prepared images as a Dataset, to compare generated ones with."""

    def __init__(self, images: PreparedImages) -> None:
        self.images = images
        self.identity: Mapping[str, Any] = {
            "name": str(images.meta["source"]["name"]),
            "sha256": images.sha256,
            "resolution": images.resolution,
            "resize": f"{images.meta['crop']} crop, {images.meta['filter']}",
        }

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def read(self, index: int) -> Picture:
        """Return one image."""
        return Picture(torch.from_numpy(np.array(self.images.pixels[index])))

    def labels(self, indices: Sequence[int]) -> list[int] | None:
        """Return class numbers, or None if there are none."""
        found = self.images.labels
        return [int(found[index]) for index in indices] if len(found) else None


def content_sha256(pixels: NDArray[np.uint8], labels: NDArray[np.int64] | None) -> str:
    """Return the digest of images and classes: of their values, not of the file layout."""
    digest = hashlib.sha256(json.dumps([*pixels.shape]).encode())
    for start in range(0, len(pixels), 1024):
        digest.update(pixels[start : start + 1024].tobytes())
    if labels is not None:
        digest.update(labels.tobytes())
    return digest.hexdigest()
