"""LPIPS with VGG16: how different two images look.

Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric" (arXiv
1801.03924), version 0.1 of the package lpips: five layers, unit vectors over channels, weighted
squared differences, averaged over places, summed over layers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sfbench.api.errors import WeightsError
from sfbench.api.tensors import read_tensors
from sfbench.quality.vgg16 import load_network, normalized

TAPS = (3, 8, 15, 22, 29)
"""Layers of the network after which features are compared."""
CHANNELS = (64, 128, 256, 512, 512)
TINY = 1e-10
SMALLEST = 16
"""Smaller images, in pixels, leave the network's last layers nothing."""
KEY = "lin{}.model.1.weight"

Images = Float[Tensor, "batch 3 height width"]


@dataclasses.dataclass(frozen=True, slots=True)
class Lpips:
    """The network, and the weight of each channel of each layer."""

    network: nn.Module
    linear: tuple[Tensor, ...]

    def __call__(self, first: Images, second: Images) -> Float[Tensor, " batch"]:
        """Return the distance of each pair of images in [-1, 1]."""
        return self.between(self.layers(first), self.layers(second))

    def layers(self, images: Images) -> list[Tensor]:
        """Return what is compared of images in [-1, 1]: unit vectors of each layer."""
        return list(self.units(normalized((images + 1) / 2)))

    def units(self, x: Tensor) -> Iterator[Tensor]:
        """Yield the features of each layer, of length 1 over channels."""
        body: Sequence[nn.Module] = self.network.features  # type: ignore[assignment]  # a sequence
        for place in range(TAPS[-1] + 1):
            x = body[place](x)
            if place in TAPS:
                yield x / (x.square().sum(dim=1, keepdim=True).sqrt() + TINY)

    def between(self, first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
        """Return the distance of each pair from the layers of both."""
        parts = [
            ((a - b).square() * weights[:, None, None]).sum(dim=1).mean(dim=(1, 2))
            for a, b, weights in zip(first, second, self.linear, strict=True)
        ]
        return torch.stack(parts).sum(dim=0)


def load_lpips(vgg: Path, linear: Path, device: str = "cpu") -> Lpips:
    """Return LPIPS with the weights of two files: torchvision's VGG16, and the package's layers.

    Raises WeightsError for files that hold something else.
    """
    network = load_network(vgg).to(device)
    return Lpips(network, tuple(one.to(device) for one in channel_weights(linear)))


def channel_weights(path: Path) -> list[Tensor]:
    """Return the weight of each channel, by layer."""
    tensors: Mapping[str, Tensor] = read_tensors(path)
    found = []
    for layer, channels in enumerate(CHANNELS):
        weights = tensors.get(KEY.format(layer))
        if weights is None or weights.shape != (1, channels, 1, 1):
            msg = f"{path}: no {KEY.format(layer)} of {channels} channels: not LPIPS of VGG16"
            raise WeightsError(msg)
        found.append(weights.float().flatten())
    return found
