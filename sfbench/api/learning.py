"""The contract of trainable models: a `Learner`, whose steps are phases over shards of a batch.

torch appears in annotations only; importing this module does not import it. Any objects with these
attributes will do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from sfbench.api.protocols import ImageGenerator

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

Means = Mapping[str, "Tensor"]
"""Detached tensors by name, to be averaged over all shards of a batch."""


class Shard(Protocol):
    """A part of a batch, every `count`-th image, and random numbers for these images.

    The same `use` gives the same numbers in a step, however the batch is split: drawing only from
    shards makes a run resumable, and the same on one process as on several.
    """

    @property
    def count(self) -> int:
        """How many shards make the batch."""

    @property
    def images(self) -> Tensor:
        """Real images [shard, channels, side, side] in [-1, 1]."""

    @property
    def labels(self) -> Tensor | None:
        """Their classes, one-hot [shard, classes], or None."""

    def normal(self, use: str, *shape: int) -> Tensor:
        """Return N(0, 1) numbers ``[shard, *shape]``."""

    def uniform(self, use: str, *shape: int) -> Tensor:
        """Return numbers in [0, 1), ``[shard, *shape]``."""

    def number(self, use: str) -> float:
        """Return one number in [0, 1), the same for the whole batch."""

    def drawn_labels(self, use: str) -> Tensor | None:
        """Return the classes of random real images, one-hot [shard, classes], or None."""


class Losses(Protocol):
    """The result of a phase on a shard."""

    @property
    def minimized(self) -> Tensor:
        """The scalar to minimize: a mean over the shard."""

    @property
    def means(self) -> Means:
        """Values to average over the whole batch; scalars go to the log."""


class Phase(Protocol):
    """One update of a step: its losses, the trained parameters, and their optimizer."""

    @property
    def name(self) -> str:
        """Its name in the log."""

    @property
    def optimizer(self) -> Optimizer:
        """Updates the parameters."""

    @property
    def parameters(self) -> Sequence[nn.Parameter]:
        """The trained parameters; all others are frozen meanwhile."""

    @property
    def losses(self) -> Callable[[Shard, Means], Losses]:
        """Called on every shard, with the means of `measure` ({} if there is only one shard)."""

    @property
    def measure(self) -> Callable[[Shard], Means] | None:
        """Called on every shard before any losses, if they depend on the whole batch."""

    @property
    def after(self) -> Callable[[Means], None] | None:
        """Called once after the update, with the means over all shards."""


@runtime_checkable
class Learner(Protocol):
    """A model that can be trained. Everything that a later step depends on is in its state."""

    def phases(self, step: int) -> Iterable[Phase]:
        """Return the updates of a step, in order."""

    def after_step(self, step: int) -> Means:
        """Finish a step; return further values for the log."""

    def generator(self) -> ImageGenerator:
        """Return the generator to evaluate now."""

    def save_weights(self, path: Path) -> None:
        """Write that generator's weights to a file that its spec's `build` reads."""

    def scale_rate(self, factor: float) -> None:
        """Train at `factor` times the configured learning rate."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state: nested mappings and lists of tensors, numbers and strings."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
