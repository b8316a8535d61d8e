"""Datasets from files: a zip in the StyleGAN layout, any zip, or a folder of images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sfbench.api.images import RESIZE, ImageCollection


class FileDataset:
    """The images of a folder or zip at one resolution, resized where their size differs."""

    def __init__(self, path: Path, resolution: int, sha256: str) -> None:
        self.images = ImageCollection(path)
        self.resolution = resolution
        self.identity: Mapping[str, Any] = {
            "name": path.name,
            "sha256": sha256,
            "resize": f"{RESIZE}, where the size differs",
        }

    def __len__(self) -> int:
        """Return how many images there are."""
        return len(self.images)

    def batches(self, indices: Sequence[int], batch_size: int) -> Iterator[Tensor]:
        """Yield uint8 images [batch, 3, side, side]; raises DataError naming a bad file."""
        for start in range(0, len(indices), batch_size):
            rows = [
                self.images.read(index, self.resolution)
                for index in indices[start : start + batch_size]
            ]
            yield torch.from_numpy(np.stack(rows)).permute(0, 3, 1, 2)

    def labels(self, indices: Sequence[int]) -> list[int] | None:
        """Return class numbers from dataset.json, or None where any image has none."""
        found = [self.images.label(index) for index in indices]
        return None if None in found else [label for label in found if label is not None]
