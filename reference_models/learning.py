"""What a trainable model and whoever trains it say to each other. Values only.

A step is a sequence of phases; a phase minimizes one sum of losses over its own parameters. A batch
comes in shards (of several processes, or of accumulated gradients); whatever a phase knows of the
whole batch it is told as means over all shards, so that no number depends on how it was cut.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer

Means = Mapping[str, Tensor]
"""Detached tensors, by name, of which the mean over all shards is meant."""


@runtime_checkable
class Shard(Protocol):
    """A part of a batch, every `count`-th row of it: real images, labels, random numbers.

    The same `use` gives the same numbers; rows belong to the images of the whole batch.
    """

    @property
    def count(self) -> int:
        """How many shards make the batch."""

    @property
    def images(self) -> Float[Tensor, "batch channels side side"]:
        """Real images in [-1, 1]."""

    @property
    def labels(self) -> Float[Tensor, "batch classes"] | None:
        """Their classes, one-hot, or None."""

    def normal(self, use: str, *shape: int) -> Tensor:
        """Return N(0, 1) numbers [batch, *shape]."""

    def uniform(self, use: str, *shape: int) -> Tensor:
        """Return numbers in [0, 1) [batch, *shape]."""

    def number(self, use: str) -> float:
        """Return one number in [0, 1) for the whole batch."""

    def drawn_labels(self, use: str) -> Float[Tensor, "batch classes"] | None:
        """Return labels of random real images, one-hot, or None where there are none."""


@dataclasses.dataclass(frozen=True, slots=True)
class Losses:
    """The mean over a shard that is minimized, and what is to be known of the whole batch."""

    minimized: Float[Tensor, ""]
    means: Means


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One update: losses of a shard, the optimizer that steps, and what follows from the means.

    `measure`: asked of every shard before `losses` where there are several; its means are handed to
    `losses`, which gets {} where the shard is the whole batch.
    """

    name: str
    optimizer: Optimizer
    parameters: Sequence[nn.Parameter]
    losses: Callable[[Shard, Means], Losses]
    measure: Callable[[Shard], Means] | None = None
    after: Callable[[Means], None] | None = None
