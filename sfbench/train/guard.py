"""Handling of NaN or infinite losses: roll back, reduce the rate for a while, or stop.

Nothing is replaced by zeros: a run that hides infinities is not trustworthy.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sfbench.api.errors import SfbenchError

MOST_STRIKES = 3
CAREFUL_KIMG = 2.0


class DivergedError(SfbenchError):
    """Training diverged again after the maximum number of rollbacks."""


@dataclasses.dataclass(slots=True)
class Guard:
    """Watches the losses of every phase on the device; synchronizes only in `sick`.

    `strikes`: rollbacks since the last good phase; `until`: images seen at which the configured
    rate applies again.
    """

    strikes: int = 0
    until: float = 0.0
    bad: dict[str, Tensor] = dataclasses.field(default_factory=dict)

    def watch(self, phase: str, loss: Tensor) -> None:
        """Record whether a loss is finite, without waiting for the device."""
        found = ~torch.isfinite(loss.detach())
        self.bad[phase] = found if phase not in self.bad else self.bad[phase] | found

    def sick(self) -> list[str]:
        """Return the phases with a NaN or infinite loss since the last call."""
        found = [phase for phase, flag in self.bad.items() if bool(flag)]
        self.bad.clear()
        return found

    def strike(self, phases: list[str], images: int) -> float:
        """Return the rate factor after a rollback; raises DivergedError after too many."""
        self.strikes += 1
        where = ", ".join(phases)
        if self.strikes > MOST_STRIKES:
            msg = (
                f"losses of {where} are NaN or infinite near {images:,} images, {MOST_STRIKES} times "
                "after a rollback to half the learning rate; try a larger --gamma or a lower rate"
            )
            raise DivergedError(msg)
        self.until = images + CAREFUL_KIMG * 1000
        return self.factor

    def well(self, images: int) -> bool:
        """Return whether the period of reduced rate ends now."""
        if not self.strikes or images < self.until:
            return False
        self.strikes = 0
        return True

    @property
    def factor(self) -> float:
        """The factor of the learning rate."""
        return float(0.5**self.strikes)

    def state_dict(self) -> dict[str, Any]:
        """Return the state that later steps depend on."""
        return {"strikes": self.strikes, "until": self.until}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.strikes, self.until = int(state["strikes"]), float(state["until"])
