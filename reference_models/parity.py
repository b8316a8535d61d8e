"""Whether compiled training has the gradients of plain training, tried before the first step.

torch.compile once gave silently wrong gradients through torch.func.grad (pytorch issue 136662): so
every phase is taken both ways on drawn images, and a difference ends the run before it began.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from reference_models.adversarial import AdversarialLearner
from reference_models.learning import Phase

ALLOWED = {4: 1e-2, 2: 1e-1}
"""Relative difference of all gradients of a phase, by the bytes of a number; an error is near 1."""


@dataclasses.dataclass(frozen=True, slots=True)
class DrawnShard:
    """A shard of noise: the same numbers every time."""

    images: Tensor
    labels: Tensor | None
    count: int = 1

    def source(self, use: str) -> torch.Generator:
        """Return the random source of a use."""
        return torch.Generator(self.images.device).manual_seed(sum(use.encode()))

    def normal(self, use: str, *shape: int) -> Tensor:
        """Return N(0, 1) numbers [shard, *shape]."""
        shape = (len(self.images), *shape)
        return torch.randn(shape, generator=self.source(use), device=self.images.device)

    def uniform(self, use: str, *shape: int) -> Tensor:
        """Return numbers in [0, 1) [shard, *shape]."""
        shape = (len(self.images), *shape)
        return torch.rand(shape, generator=self.source(use), device=self.images.device)

    def number(self, use: str) -> float:
        """Return one number in [0, 1)."""
        return float(self.uniform(use)[0])

    def drawn_labels(self, use: str) -> Tensor | None:
        """Return the labels."""
        del use
        return self.labels


def check_compiled(learner: AdversarialLearner[Any], images: int, side: int, width: int) -> None:
    """Take every phase of a step compiled and plain; `width`: bytes of the cheaper numbers.

    Raises ValueError naming the phase where the gradients differ.
    """
    shard = drawn_shard(learner, images, side)
    compiled = learner.functions
    for phase in learner.phases(0):
        learner.functions = learner.plain
        plain = gradient(phase, shard)
        learner.functions = compiled
        found = gradient(phase, shard)
        difference = float((found - plain).norm() / plain.norm().clamp_min(1e-30))
        if not difference <= ALLOWED[width]:
            msg = (
                f"compiled gradients of {phase.name} differ from plain ones by {difference:.1e} "
                f"(allowed {ALLOWED[width]:.0e}); train with --mode eager"
            )
            raise ValueError(msg)


def drawn_shard(learner: AdversarialLearner[Any], images: int, side: int) -> DrawnShard:
    """Return a shard of noise that the learner can train on."""
    classes = learner.live.mapping.c_dim
    source = torch.Generator(learner.device).manual_seed(0)
    shape = (images, 3, side, side)
    pixels = torch.rand(shape, generator=source, device=learner.device) * 2 - 1
    labels = None
    if classes:
        labels = torch.eye(classes, device=learner.device)[torch.arange(images) % classes]
    return DrawnShard(pixels, labels)


def gradient(phase: Phase, shard: DrawnShard) -> Tensor:
    """Return all gradients of a phase in one vector; nothing else changes."""
    for parameter in phase.parameters:
        parameter.requires_grad_()
    phase.losses(shard, {}).minimized.backward()  # type: ignore[no-untyped-call]  # torch's
    found = [p.grad.flatten().double() for p in phase.parameters if p.grad is not None]
    for parameter in phase.parameters:
        parameter.grad = None
        parameter.requires_grad = False
    return torch.cat(found)
