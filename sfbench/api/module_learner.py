"""The adapter that turns a plain learner into a `Learner`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from sfbench.api.learning import Means
from sfbench.api.protocols import ImageGenerator


class PlainLearner(Protocol):
    """A learner that does not depend on sfbench."""

    def phases(self, step: int) -> Iterable[Any]:
        """Return the updates of a step, in order: anything with the attributes of a Phase."""

    def after_step(self, step: int) -> Means:
        """Finish a step; return further values for the log."""

    def scale_rate(self, factor: float) -> None:
        """Train at `factor` times the learning rate."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""


class ModuleLearner:
    """Trains with `inner`; `build` returns the current generator, `write` writes its weights."""

    def __init__(
        self,
        inner: PlainLearner,
        *,
        build: Callable[[], ImageGenerator],
        write: Callable[[Path], None],
    ) -> None:
        self.inner = inner
        self.generator = build
        self.save_weights = write
        self.phases = inner.phases
        self.after_step = inner.after_step
        self.scale_rate = inner.scale_rate
        self.state_dict = inner.state_dict
        self.load_state_dict = inner.load_state_dict
