"""Inception-v3 of 2015-12-05 through torch-fidelity's own class: the network that FID is defined by."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import UInt8
from torch import Tensor

from sfbench.api.errors import WeightsError
from sfbench.api.protocols import Features
from sfbench.quality.weights import INCEPTION, SHA256

LAYERS = ["2048", "logits_unbiased"]


class InceptionExtractor:
    """uint8 images -> features [batch, 2048] and unbiased logits [batch, 1008].

    Only with the published weights (by SHA-256) is `standard` True; any other file gives an
    extractor named after its digest. Raises WeightsError for a file that is not such a state dict.
    """

    def __init__(self, path: Path, sha256: str, device: str) -> None:
        self.standard = sha256 == SHA256
        self.name = INCEPTION if self.standard else f"{INCEPTION}-{sha256[:8]}"
        self.network = load_network(path).to(device)
        self.device = device
        self.identity: Mapping[str, Any] = {
            "name": self.name,
            "weights_sha256": sha256,
            "resize": "TensorFlow-1 bilinear to 299x299 (torch-fidelity)",
            "features": 2048,
        }

    def __call__(self, images: UInt8[Tensor, "batch 3 height width"]) -> Features:
        """Return features and logits."""
        pooled, logits = self.network(images.to(self.device))
        return Features(pooled, logits)


def load_network(path: Path) -> torch.nn.Module:
    """Return torch-fidelity's network with the file's weights.

    Its constructor unpickles whatever file it is given, so it is given a copy that holds nothing
    but the tensors that `weights_only` loading let through.
    """
    from torch_fidelity.feature_extractor_inceptionv3 import (  # slow
        FeatureExtractorInceptionV3,
    )

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "tensors.pth"
            torch.save(state, copy)
            network: torch.nn.Module = FeatureExtractorInceptionV3(
                INCEPTION, LAYERS, feature_extractor_weights_path=str(copy)
            )
    except Exception as error:  # noqa: BLE001  # loading a stranger's file can raise anything
        reason = str(error).strip().splitlines()[0]
        msg = f"{path}: not the Inception-v3 state dict that torch-fidelity reads ({reason})"
        raise WeightsError(msg) from None
    return network.eval().requires_grad_(requires_grad=False)
