"""The embedded extractor: a small network trained on CIFAR-10, shipped with the package.

It needs no download and is the same everywhere, so quality is meaningful on a fresh install. Its
input is 32x32 pixels: finer detail is invisible to it. Its distances are never called FID.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor

from sfbench.api.errors import WeightsError
from sfbench.api.protocols import Features
from sfbench.quality.embedded.network import SIDE, CifarNetwork
from sfbench.quality.published import EMBEDDED, EMBEDDED_FOLDER, embedded_card
from sfbench.store.content import file_sha256


class CifarExtractor:
    """Images [batch, 3, 32, 32] in 0..255 -> 256 standardized features and 10 class logits."""

    name = EMBEDDED
    standard = False
    side: int | None = SIDE
    resize = "pil-bicubic"

    def __init__(self, device: str) -> None:
        card = embedded_card()
        path = EMBEDDED_FOLDER / card["file"]
        found = file_sha256(path)
        if found != card["sha256"]:
            msg = f"{path}: expected sha256 {card['sha256'][:12]}…, found {found[:12]}…; reinstall"
            raise WeightsError(msg)
        network = CifarNetwork()
        network.load_state_dict(load_file(path))
        self.network = network.eval().requires_grad_(requires_grad=False)
        self.network.to(memory_format=torch.channels_last).to(device)
        self.identity: Mapping[str, Any] = {
            "name": self.name,
            "weights_sha256": found,
            "features": len(network.scale),
        }

    def __call__(self, images: Float[Tensor, "batch 3 height width"]) -> Features:
        """Return features [batch, 256] and logits [batch, 10]."""
        with torch.inference_mode():
            x = (images / 127.5 - 1).contiguous(memory_format=torch.channels_last)
            return Features(*self.network(x))
