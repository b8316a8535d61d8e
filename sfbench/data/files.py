"""Datasets from files: a zip in the StyleGAN layout, any zip, a folder of images, or an array file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sfbench.api.errors import DataError
from sfbench.api.images import RESIZE, ImageCollection
from sfbench.api.protocols import Picture
from sfbench.data.array_files import ArrayFileError, array_names, map_array, read_arrays

ADM_KEY = "arr_0"
IMAGES_NDIM = 4


class FileDataset:
    """The images of a folder or zip.

    At one resolution, cropped and resized where their size differs; or, with None, as they are.
    """

    def __init__(self, path: Path, resolution: int | None, sha256: str) -> None:
        self.images = ImageCollection(path)
        self.resolution = resolution
        self.identity: Mapping[str, Any] = {
            "name": path.name,
            "sha256": sha256,
            "resolution": resolution,
            "resize": "none" if resolution is None else f"{RESIZE}, where the size differs",
        }

    def __len__(self) -> int:
        """Return how many images there are."""
        return len(self.images)

    def read(self, index: int) -> Picture:
        """Return one image; raises DataError naming a bad file."""
        pixels, note = self.images.read(index, self.resolution)
        return Picture(torch.from_numpy(pixels).permute(2, 0, 1), note)

    def labels(self, indices: Sequence[int]) -> list[int] | None:
        """Return class numbers from dataset.json, or None where any image has none."""
        found = [self.images.label(index) for index in indices]
        return None if None in found else [label for label in found if label is not None]


class ArrayDataset:
    """Images of a .npy file, or of `arr_0` of an .npz: uint8 [N, height, width, 3 or 1].

    That is how guided-diffusion (ADM) keeps samples. Raises DataError for anything else.
    """

    def __init__(self, path: Path, sha256: str) -> None:
        self.pixels, classes = images_and_classes(path)
        if self.pixels.dtype != np.uint8 or self.pixels.ndim != IMAGES_NDIM:
            msg = (
                f"{path}: an array {self.pixels.dtype} {self.pixels.shape}; expected images "
                "uint8 (N, height, width, 3)"
            )
            raise DataError(msg)
        if self.pixels.shape[3] not in {1, 3}:
            msg = f"{path}: images with {self.pixels.shape[3]} channels last; expected 3 or 1"
            raise DataError(msg)
        if not len(self.pixels):
            msg = f"{path}: an array of no images"
            raise DataError(msg)
        numbered = (
            classes is not None
            and classes.shape == (len(self.pixels),)
            and classes.dtype.kind in "iu"
        )
        self.classes = classes if numbered else None
        self.identity: Mapping[str, Any] = {
            "name": path.name,
            "sha256": sha256,
            "resolution": None,
            "resize": "none",
        }

    def __len__(self) -> int:
        """Return how many images there are."""
        return len(self.pixels)

    def read(self, index: int) -> Picture:
        """Return one image."""
        image = torch.from_numpy(np.array(self.pixels[index])).permute(2, 0, 1)
        if image.shape[0] == 1:
            return Picture(image.expand(3, -1, -1), "grey, repeated in three channels")
        return Picture(image)

    def labels(self, indices: Sequence[int]) -> list[int] | None:
        """Return class numbers (`arr_1`, one an image), or None."""
        return None if self.classes is None else [int(self.classes[index]) for index in indices]


def images_and_classes(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Return images and class numbers of an array file; nothing is unpickled."""
    try:
        if path.suffix.lower() == ".npy":
            return map_array(path), None
        arrays = read_arrays(path, ADM_KEY, "arr_1")
        if ADM_KEY not in arrays:
            there = ", ".join(array_names(path)) or "nothing"
            msg = f"{path}: holds {there}; expected images {ADM_KEY}"
            raise DataError(msg)
        return arrays[ADM_KEY], arrays.get("arr_1")
    except (ArrayFileError, OSError) as error:
        msg = f"{path}: cannot be read as an array file ({error})"
        raise DataError(msg) from None
