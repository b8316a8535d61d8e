"""The network of the embedded extractor: seven convolutions, trained to classify CIFAR-10.

`scripts/train_extractor.py` trains it with batch normalization and folds that into the weights
kept here; architecture after the small residual-free networks used for fast CIFAR-10 training.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

SIDE = 32
WIDTHS = (32, 64, 64, 128, 128, 192, 192)
POOLED = frozenset({1, 3, 5})
EARLY = 2
CLASSES = 10


class CifarNetwork(nn.Module):
    """Images [batch, 3, 32, 32] in [-1, 1] -> 256 standardized features and 10 class logits.

    The features are the channel means after the third layer (64: color and texture) and after the
    last (192: the classifier's input), each shifted and scaled to mean 0 and variance 1 over
    the training images.
    """

    def __init__(self) -> None:
        super().__init__()
        inputs = (3, *WIDTHS[:-1])
        self.layers = nn.ModuleList(
            nn.Conv2d(before, after, 3, padding=1)
            for before, after in zip(inputs, WIDTHS, strict=True)
        )
        self.classifier = nn.Linear(WIDTHS[-1], CLASSES)
        features = WIDTHS[EARLY] + WIDTHS[-1]
        self.register_buffer("shift", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        self.shift: Tensor
        self.scale: Tensor

    def forward(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> tuple[Float[Tensor, "batch features"], Float[Tensor, "batch classes"]]:
        """Return features and class logits."""
        x, early = images, None
        for index, layer in enumerate(self.layers):
            x = layer(x)
            if index in POOLED:
                x = F.max_pool2d(x, 2)
            x = F.relu(x)
            if index == EARLY:
                early = x.mean(dim=(2, 3))
        last = x.mean(dim=(2, 3))
        assert early is not None  # noqa: S101  # EARLY is one of the layers
        pooled = (torch.cat([early, last], dim=1) - self.shift) * self.scale
        return pooled, self.classifier(last)
