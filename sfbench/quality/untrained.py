"""The built-in extractor: a small convolutional network with fixed random weights.

It needs no download and is the same everywhere, so every path can be run and tested offline. Its
distances say whether two sets of images differ in colour and coarse texture; they say nothing of
quality as people see it, and are never called FID.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.nn import functional as F

from sfbench.api.protocols import Features
from sfbench.quality.weights import BUILT_IN

SIDE = 64
LAYERS = ((3, 16, 5), (16, 32, 3), (32, 32, 3))
KEY = 20211


class UntrainedExtractor:
    """uint8 images -> 64 features: channel means of the second and third layer's activations."""

    name = BUILT_IN
    standard = False

    def __init__(self, device: str) -> None:
        source = np.random.Philox(key=KEY)
        self.weights = []
        sha = hashlib.sha256()
        for inputs, outputs, kernel in LAYERS:
            count = outputs * inputs * kernel * kernel
            words = source.random_raw(count) >> np.uint64(11)
            uniform = words.astype(np.float64) * 2.0**-53 * 2 - 1
            # Uniform with the variance of He's normal initialisation.
            scaled = (uniform * math.sqrt(6 / (inputs * kernel * kernel))).astype(np.float32)
            sha.update(scaled.tobytes())
            weight = torch.from_numpy(scaled.reshape(outputs, inputs, kernel, kernel))
            self.weights.append(weight.to(device))
        self.device = device
        self.identity: Mapping[str, Any] = {
            "name": self.name,
            "weights_sha256": sha.hexdigest(),
            "resize": f"antialiased bilinear to {SIDE}x{SIDE}",
            "features": 64,
        }

    def __call__(self, images: UInt8[Tensor, "batch 3 height width"]) -> Features:
        """Return features [batch, 64]; there are no class logits."""
        x = images.to(self.device).float() / 127.5 - 1
        x = F.interpolate(x, (SIDE, SIDE), mode="bilinear", align_corners=False, antialias=True)
        pooled = []
        for weight in self.weights:
            x = F.relu(F.conv2d(x, weight, stride=2, padding=weight.shape[-1] // 2))
            pooled.append(x.mean(dim=(2, 3)))
        return Features(torch.cat(pooled[1:], dim=1), None)
