"""Inception-v3 of 2015-12-05, by torch-fidelity's own class: the network that defines FID.

torchvision's and timm's networks of that name accept the same weights but give other features:
their average pools count the padding, and the last block uses average pooling.
"""

from __future__ import annotations

import tempfile
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
from sfbench.quality.inception_names import in_torch_fidelity_names
from sfbench.quality.published import INCEPTION

LAYERS = ["2048", "logits_unbiased"]
SIDE = 299
SPATIAL_CHANNELS = 7
STAGES = (
    "Conv2d_1a_3x3",
    "Conv2d_2a_3x3",
    "Conv2d_2b_3x3",
    "MaxPool_1",
    "Conv2d_3b_1x1",
    "Conv2d_4a_3x3",
    "MaxPool_2",
    "Mixed_5b",
    "Mixed_5c",
    "Mixed_5d",
    "Mixed_6a",
    "Mixed_6b",
    "Mixed_6c",
    "Mixed_6d",
    "Mixed_6e",
    "Mixed_7a",
    "Mixed_7b",
    "Mixed_7c",
    "AvgPool",
)


class InceptionExtractor:
    """Images [batch, 3, 299, 299] in 0..255 -> features [batch, 2048], logits, spatial features.

    Logits [batch, 1008] are without the bias (as the Inception Score is defined in TensorFlow's
    code). Spatial features [batch, 2023] are the first 7 channels of `mixed_6/conv`, 17 x 17 (sFID,
    guided-diffusion). `fast` folds batch normalization and uses channels_last: features agree
    within 1e-4. `standard` is True only with a published file; others are named after their digest.
    Raises WeightsError for a file that holds no such network.
    """

    side: int | None = SIDE
    resize = "tf1-bilinear"

    def __init__(self, request: ExtractorRequest, *, standard: bool) -> None:
        digest = str(request.sha256)
        self.standard = standard
        self.name = INCEPTION if standard else f"{INCEPTION}-{digest[:8]}"
        self.fast = request.fast
        network = load_network(Path(str(request.weights)))
        if self.fast:
            network = folded(network).to(memory_format=torch.channels_last)
        self.network = network.to(request.device)
        self.classifier: Tensor = network.state_dict()["fc.weight"]
        self.identity: Mapping[str, Any] = {
            "name": self.name,
            "weights_sha256": digest,
            "features": 2048,
            "arithmetic": "folded, channels_last (1e-4)" if self.fast else "exact",
        }

    def __call__(self, images: Float[Tensor, "batch 3 299 299"]) -> Features:
        """Return features, unbiased logits, and spatial features."""
        with torch.inference_mode():
            x = (images - 128) / 128
            if self.fast:
                x = x.contiguous(memory_format=torch.channels_last)
            spatial = None
            for stage in STAGES:
                if stage == "Mixed_6d":
                    branch = getattr(self.network, stage).branch1x1(x)
                    # Channels last, as TensorFlow flattens them: statistics files depend on it.
                    spatial = branch[:, :SPATIAL_CHANNELS].permute(0, 2, 3, 1).flatten(1)
                x = getattr(self.network, stage)(x)
            pooled = x.flatten(1)
            return Features(pooled, pooled @ self.classifier.T, spatial)


def load_network(path: Path) -> nn.Module:
    """Return torch-fidelity's network with the file's weights.

    Its constructor unpickles the given file, so it gets a copy that contains only tensors.
    """
    from torch_fidelity.feature_extractor_inceptionv3 import (  # slow
        FeatureExtractorInceptionV3,
    )

    state = in_torch_fidelity_names(read_tensors(path))
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "tensors.pth"
        torch.save(state, copy)
        try:
            network: nn.Module = FeatureExtractorInceptionV3(
                INCEPTION, LAYERS, feature_extractor_weights_path=str(copy)
            )
        except RuntimeError as error:
            msg = f"{path}: not Inception-v3 of 2015 ({first_line(error)})"
            raise WeightsError(msg) from None
    return network.eval().requires_grad_(requires_grad=False)


def folded(network: nn.Module) -> nn.Module:
    """Return the network with each batch normalization put into the convolution before it."""
    for block in network.modules():
        conv, norm = getattr(block, "conv", None), getattr(block, "bn", None)
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            block.conv = torch.nn.utils.fusion.fuse_conv_bn_eval(conv, norm)
            block.bn = nn.Identity()
    return network
