"""Existing generated images, from a folder or zip file, as an sfbench plugin."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sfbench.api import (
    BuildRequest,
    DataError,
    GeneratorSpec,
    ImageCollection,
    Option,
    UsageError,
    hookimpl,
)

if TYPE_CHECKING:
    from torch import Tensor


class ImageFolderGenerator:
    """Seed i stands for image i in sorted order of the names."""

    def __init__(self, path: Path, size: tuple[int, int], device: str) -> None:
        self.images = ImageCollection(path)
        self.size = size
        self.resolution = size[0]
        self.device = device

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def draw_latents(self, seeds: Sequence[int]) -> list[int]:
        """Return the image numbers; raises DataError beyond the last image."""
        if max(seeds) >= len(self.images):
            msg = f"{self.images.path}: image {max(seeds)} requested, {len(self.images)} available"
            raise DataError(msg)
        return list(seeds)

    def synthesize(self, latents: list[int]) -> Tensor:
        """Return the images [batch, 3, height, width] in [-1, 1]."""
        import numpy as np  # not needed to list plugins
        import torch  # not needed to list plugins

        arrays = np.stack([self.images.read(index, self.size).pixels for index in latents])
        pixels = torch.from_numpy(arrays).permute(0, 3, 1, 2).to(self.device)
        return pixels.float() / 127.5 - 1


def build(request: BuildRequest) -> ImageFolderGenerator:
    """Return the images under the option `path`."""
    path = request.options["path"]
    if not path:
        msg = "image-folder is written image-folder:FOLDER or image-folder:FILE.zip"
        raise UsageError(msg)
    size = (request.resolution, request.width or request.resolution)
    return ImageFolderGenerator(Path(str(path)), size, request.device)


@hookimpl
def sfbench_generators() -> list[GeneratorSpec]:
    """Return the one entry."""
    return [
        GeneratorSpec(
            name="image-folder",
            summary="existing generated images from a folder or zip (quality only)",
            resolutions=(),
            options=(Option(name="path", kind="images", help="folder or zip file of images"),),
            build=build,
            license="Apache-2.0",
            synthesizes=False,
            reference="path",
        )
    ]
