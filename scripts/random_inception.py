"""Inception-v3 with seeded random weights in the published file's format, for tests and timing.

    python scripts/random_inception.py FILE.pth

Convolutions are drawn as He et al. do and batch normalization is set from drawn scenes, so that
features have the scale of a trained network's. Its distances mean nothing.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import nn

from sfbench.data.shapes import ShapesDataset
from sfbench.quality.inception import LAYERS
from sfbench.quality.resizing import tf1_bilinear
from sfbench.values.sizes import square

SEED = 0
SCENES = 24


def random_inception(path: Path) -> None:
    """Write the file."""
    from torch_fidelity import feature_extractor_inceptionv3 as peer

    class Blank(peer.FeatureExtractorInceptionV3):  # type: ignore[misc]  # torch-fidelity has no types
        """The network before any weights are loaded."""

        def load_state_dict(self, *_: object, **__: object) -> None:  # type: ignore[override]
            """Load nothing."""

    original = peer.load_state_dict_from_url
    peer.load_state_dict_from_url = lambda *_, **__: {}
    try:
        network = Blank("blank", LAYERS)
    finally:
        peer.load_state_dict_from_url = original
    source = torch.Generator().manual_seed(SEED)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            fan_in = module.weight[0].numel()
            module.weight.data.normal_(0, (2 / fan_in) ** 0.5, generator=source)
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    network.fc.weight.data.normal_(0, 0.05, generator=source)
    network.fc.bias.data.zero_()
    scenes = ShapesDataset(square(64))
    pixels = torch.stack([scenes.read(index).pixels for index in range(SCENES)])
    network.train()
    with torch.no_grad():
        network(tf1_bilinear(pixels, 299).round().clamp(0, 255).byte())
    torch.save(network.eval().state_dict(), path)


if __name__ == "__main__":
    random_inception(Path(sys.argv[1]))
