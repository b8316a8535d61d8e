"""How packages make originals the size of their reconstructions: what they cut, by which filter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F  # torchvision's own abbreviation

from sfbench.api.protocols import Picture
from sfbench.data.dataset import ContainerDataset

Crop = Literal["none", "adm", "torchvision-bilinear", "torchvision-bicubic"]
"""As they are; guided-diffusion's center crop; the center after torchvision's Resize."""
CROPS: Sequence[Crop] = get_args(Crop)

Pixels = UInt8[Tensor, "3 height width"]


def cropped(pixels: Pixels, crop: Crop, side: int) -> UInt8[Tensor, "3 rows columns"]:
    """Return an image as side x side pixels."""
    if crop == "none" or tuple(pixels.shape[1:]) == (side, side):
        return pixels
    image = Image.fromarray(pixels.permute(1, 2, 0).numpy())
    made = adm(image, side) if crop == "adm" else by_torchvision(image, crop, side)
    return torch.from_numpy(np.array(made)).permute(2, 0, 1)


def adm(image: Image.Image, side: int) -> Image.Image:
    """Halve by averaging while the shorter side is twice too long, then Pillow's bicubic, then cut."""
    while min(image.size) >= 2 * side:
        image = image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)
    scale = side / min(image.size)
    size = round(image.width * scale), round(image.height * scale)
    image = image.resize(size, Image.Resampling.BICUBIC)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def by_torchvision(image: Image.Image, crop: Crop, side: int) -> Image.Image:
    """Resize(side), then CenterCrop(side), of an image as Pillow holds it."""
    mode = InterpolationMode(crop.removeprefix("torchvision-"))
    shorter: Image.Image = F.resize(image, side, interpolation=mode)
    found: Image.Image = F.center_crop(shorter, [side, side])
    return found


class CroppedImages:
    """The images of a dataset, each as a package makes it one size."""

    def __init__(self, dataset: ContainerDataset, crop: Crop, side: int) -> None:
        self.dataset, self.crop, self.side = dataset, crop, side
        self.container = dataset.container
        self.code = (type(dataset).__module__, *dataset.code, __name__)
        self.identity: Mapping[str, Any] = {**dataset.identity, "crop": crop, "side": side}

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.dataset)

    def read(self, index: int) -> Picture:
        """Return one image; raises DataError naming a bad one."""
        found = self.dataset.read(index)
        return Picture(cropped(found.pixels, self.crop, self.side), found.note)

    def labels(self, indices: Sequence[int]) -> list[int] | None:
        """Return the class of each image; None without classes."""
        return self.dataset.labels(indices)
