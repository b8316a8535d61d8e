"""VGG16 of torchvision: features for precision and recall, and the layers that LPIPS compares.

Features are the 4,096 of the second fully connected layer after its ReLU (`fc2_relu` of
torch-fidelity, `return_features` of NVIDIA's file), of images resized as TensorFlow 1 does. Simonyan
and Zisserman, arXiv 1409.1556.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sfbench.api.errors import WeightsError, first_line
from sfbench.api.protocols import Features
from sfbench.api.spec import ExtractorRequest
from sfbench.api.tensors import read_tensors
from sfbench.quality.published import VGG16

SIDE = 224
MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)
"""Of ImageNet, of images in [0, 1]."""
LEVELS = 255.0
LAST = 5
"""Layers of the classifier up to the ReLU after its second product."""


class Vgg16Extractor:
    """VGG16 with the weights of a file; `standard` is True only with the published ones.

    Raises WeightsError for a file that holds no such network.
    """

    side: int | None = SIDE
    resize = "tf1-bilinear"

    def __init__(self, request: ExtractorRequest, *, standard: bool) -> None:
        digest = str(request.sha256)
        self.standard = False
        """Its distances have no established names."""
        self.name = VGG16 if standard else f"{VGG16}-{digest[:8]}"
        self.network = load_network(Path(str(request.weights))).to(request.device)
        self.identity: Mapping[str, Any] = {
            "name": self.name,
            "weights_sha256": digest,
            "features": 4096,
            "arithmetic": "exact",
        }

    def __call__(self, images: Float[Tensor, "batch 3 224 224"]) -> Features:
        """Return features of images in 0..255; it has no logits and no spatial features."""
        with torch.inference_mode():
            x = normalized(images / LEVELS)
            x = self.network.features(x)  # type: ignore[operator]  # a module
            x = self.network.avgpool(x).flatten(1)  # type: ignore[operator]  # a module
            return Features(self.network.classifier[:LAST](x), None, None)  # type: ignore[index,operator]  # a sequence


def load_network(path: Path) -> nn.Module:
    """Return torchvision's network with the tensors of a file, for inference."""
    from torchvision import models  # slow

    with torch.device("meta"):
        network: nn.Module = models.vgg16(weights=None)
    try:
        network.load_state_dict(read_tensors(path), assign=True)
    except RuntimeError as error:
        msg = f"{path}: not VGG16 of torchvision ({first_line(error)})"
        raise WeightsError(msg) from None
    return network.float().eval().requires_grad_(requires_grad=False)


def normalized(
    images: Float[Tensor, "batch 3 height width"],
) -> Float[Tensor, "batch 3 height width"]:
    """Return images of [0, 1] as the network takes them."""
    mean, deviation = (
        torch.tensor(values, device=images.device, dtype=images.dtype)[:, None, None]
        for values in (MEAN, DEVIATION)
    )
    return (images - mean) / deviation
