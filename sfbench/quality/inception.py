"""Inception-v3 of 2015-12-05, by torch-fidelity's own class: the network that defines FID.

torchvision's and timm's networks of that name accept the same weights but give other features:
their average pools count the padding, and the last block uses average pooling.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from sfbench.api.errors import WeightsError, first_line
from sfbench.api.protocols import Features
from sfbench.api.spec import ExtractorRequest
from sfbench.api.tensors import read_tensors
from sfbench.quality.inception_names import in_torch_fidelity_names
from sfbench.quality.published import INCEPTION

LAYERS = ["2048", "logits_unbiased"]
SIDE = 299
SPATIAL_CHANNELS = 7
IMAGES_PER_THREAD = 2
"""Images at once on a CPU: the maps of more do not fit its cache."""
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
        together = IMAGES_PER_THREAD * torch.get_num_threads() if images.is_cpu else len(images)
        faster = PlanarPools() if images.is_cpu and not self.fast else contextlib.nullcontext()
        with torch.inference_mode(), faster:
            found = [self.of_part(part) for part in torch.split(images, max(1, together))]
            return Features(*(torch.cat(parts) for parts in zip(*found, strict=True)))

    def of_part(self, images: Float[Tensor, "part 3 299 299"]) -> tuple[Tensor, Tensor, Tensor]:
        """Return features, unbiased logits, and spatial features of the images at once."""
        x = (images - 128) / 128
        if self.fast:
            x = channels_last(x)
        spatial = x
        for stage in STAGES:
            if stage == "Mixed_6d":
                branch = getattr(self.network, stage).branch1x1(x)
                # Channels last, as TensorFlow flattens them: statistics files depend on it.
                spatial = branch[:, :SPATIAL_CHANNELS].permute(0, 2, 3, 1).flatten(1)
            x = getattr(self.network, stage)(x)
        pooled = x.flatten(1)
        return pooled, pooled @ self.classifier.T, spatial


class PlanarPools(TorchFunctionMode):
    """Pools of a CPU's planar maps in a quarter to half of torch's time, equal to the last bit.

    A maximum over 3x3 is one over rows of one over columns; averages are taken channels last, where
    torch adds up a window in the same order for many channels at once.
    """

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Return what the function returns."""
        del types
        given = kwargs or {}
        if function is F.avg_pool2d:
            return function(channels_last(args[0]), *args[1:], **given).contiguous()
        if function is F.max_pool2d and is_halving(*args[1:], **given):
            return halved(halved(args[0], 2), 3)
        return function(*args, **given)


def channels_last(x: Tensor) -> Tensor:
    """Return the maps with the channels of a pixel side by side in memory."""
    return x.contiguous(memory_format=torch.channels_last)


def is_halving(
    kernel_size: int, stride: int = 0, padding: int = 0, dilation: int = 1, **others: bool
) -> bool:
    """Return whether a pool takes the maximum over 3x3 every second pixel, and nothing else."""
    return (kernel_size, stride, padding, dilation) == (3, 2, 0, 1) and not any(others.values())


def halved(x: Float[Tensor, "batch channels height width"], axis: int) -> Float[Tensor, "..."]:
    """Return the maxima over three neighbors, at every second place of an axis."""
    places = (x.shape[axis] - 3) // 2 + 1
    first, second, third = (
        x[(slice(None),) * axis + (slice(start, start + 2 * places - 1, 2),)] for start in range(3)
    )
    return torch.maximum(torch.maximum(first, second), third)


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
