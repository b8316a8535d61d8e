"""Array files: .npy, or .npz with `arr_0` or `images` (and `arr_1` or `labels`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sfbench.api.errors import DataError
from sfbench.data.array_files import MAGIC, ArrayFileError, array_names, map_array, read_arrays
from sfbench.data.item import Item

IMAGES, LABELS = ("arr_0", "images", "x"), ("arr_1", "labels", "y")
CHANNELS = (1, 3, 4)
NDIM = 4


def items(path: Path) -> Iterator[Item]:
    """Yield the images; raises DataError for anything but uint8 images. Nothing is unpickled."""
    pixels, labels = read(path)
    if pixels.dtype != np.uint8 or pixels.ndim != NDIM:
        msg = f"{path}: an array {pixels.dtype} {pixels.shape}; expected uint8 images (N, ...)"
        raise DataError(msg)
    if pixels.shape[3] not in CHANNELS and pixels.shape[1] in CHANNELS:
        pixels = pixels.transpose(0, 2, 3, 1)
    if pixels.shape[3] not in CHANNELS:
        msg = f"{path}: images {pixels.shape[1:]}; expected 1, 3 or 4 channels, first or last"
        raise DataError(msg)
    if labels is not None and (labels.shape != (len(pixels),) or labels.dtype.kind not in "iu"):
        msg = (
            f"{path}: labels {labels.dtype} {labels.shape} of {len(pixels)} images; expected one "
            "whole number per image"
        )
        raise DataError(msg)
    for index in range(len(pixels)):
        label = None if labels is None else int(labels[index])
        yield Item(f"{index:08d}", np.asarray(pixels[index]), label)


def read(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Return images and labels of the file."""
    try:
        with path.open("rb") as file:
            if file.read(len(MAGIC)) == MAGIC:
                return map_array(path), None
        there = array_names(path)
        image = next((name for name in IMAGES if name in there), None)
        label = next((name for name in LABELS if name in there), None)
        arrays = read_arrays(path, *filter(None, (image, label))) if image else {}
    except (OSError, ArrayFileError) as error:
        msg = f"{path}: cannot be read as an array file ({error})"
        raise DataError(msg) from None
    if image is None:
        msg = f"{path}: holds {', '.join(there) or 'nothing'}; expected images {IMAGES[0]}"
        raise DataError(msg)
    return arrays[image], None if label is None else arrays[label]
