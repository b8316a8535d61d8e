"""The images of a container as a Dataset: uint8 RGB by number, with what had to be done to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from sfbench.api.errors import DataError, first_line
from sfbench.api.image_files import open_image
from sfbench.api.images import RESIZE, ReadImage, read_rgb
from sfbench.api.protocols import Picture
from sfbench.data.container import Container
from sfbench.values.sizes import Size

COLORS = 3


class ContainerDataset:
    """Images at one resolution, cropped and resized if their size differs; with None, as they are."""

    def __init__(self, container: Container, size: Size | None, sha256: str) -> None:
        self.container = container
        self.size = size
        self.code = (type(container).__module__,)
        self.identity: Mapping[str, Any] = {
            "name": container.path.name,
            "sha256": sha256,
            **in_identity(size),
            "resize": "none" if size is None else f"{RESIZE}, where the size differs",
        }

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.container)

    def read(self, index: int) -> Picture:
        """Return one image; raises DataError naming a bad one."""
        item = self.container.item(index)
        if item.problem is not None:
            raise DataError(self.problem(item.name, item.problem))
        content = item.content
        if isinstance(content, np.ndarray) and self.is_ready(content):
            return Picture(torch.from_numpy(np.array(content)).permute(2, 0, 1), None)
        try:
            opened = open_image(content) if isinstance(content, bytes) else of_pixels(content)
            found = read_rgb(opened, self.size)
        except Exception as error:  # noqa: BLE001  # strange metadata and members raise anything
            raise DataError(self.problem(item.name, first_line(error))) from None
        return picture(found)

    def is_ready(self, pixels: np.ndarray) -> bool:
        """Return whether pixels are RGB of the size that is wanted."""
        return pixels.shape[2] == COLORS and self.size in {None, pixels.shape[:2]}

    def problem(self, name: str, reason: str) -> str:
        """Return what is wrong with an image, in one line."""
        return f"{self.container.path}: {name} cannot be read as an image ({reason})"

    def labels(self, indices: Sequence[int]) -> list[int] | None:
        """Return class numbers, or None where any image has none."""
        found = [self.container.label(index) for index in indices]
        return None if None in found else [label for label in found if label is not None]


def in_identity(size: Size | None) -> dict[str, int | None]:
    """Return a size as the identities of datasets hold it: squares have no width of their own."""
    if size is None or size.is_square:
        return {"resolution": None if size is None else size.height}
    return {"resolution": size.height, "width": size.width}


def picture(found: ReadImage) -> Picture:
    """Return what was read of a file as tensors."""
    stored = None if found.stored is None else picture(found.stored)
    return Picture(torch.from_numpy(found.pixels).permute(2, 0, 1), found.note, stored)


def of_pixels(pixels: np.ndarray) -> Image.Image:
    """Return pixels [height, width, channels] as an image."""
    array = pixels[..., 0] if pixels.shape[2] == 1 else pixels
    return Image.fromarray(np.ascontiguousarray(array))
