"""What to do when a loss is no longer a number: go back, learn more slowly for a while, or stop.

Nothing is replaced by zeros: a run that hides infinities cannot be believed.
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
    """Training went back as often as it may and came to the same end."""


@dataclasses.dataclass(slots=True)
class Guard:
    """Watches the losses of every phase on the device; asks for the answer only when told to.

    `strikes`: how often the run went back since it last was well; `until`: images seen at which
    the rate is the asked one again.
    """

    strikes: int = 0
    until: float = 0.0
    bad: dict[str, Tensor] = dataclasses.field(default_factory=dict)

    def watch(self, phase: str, loss: Tensor) -> None:
        """Note whether a loss is a number; nothing waits for the device."""
        found = ~torch.isfinite(loss.detach())
        self.bad[phase] = found if phase not in self.bad else self.bad[phase] | found

    def sick(self) -> list[str]:
        """Return the phases in which a loss was no number since the last call."""
        found = [phase for phase, flag in self.bad.items() if bool(flag)]
        self.bad.clear()
        return found

    def strike(self, phases: list[str], images: int) -> float:
        """Return the factor for the rate after going back; raises DivergedError at the end."""
        self.strikes += 1
        where = ", ".join(phases)
        if self.strikes > MOST_STRIKES:
            msg = (
                f"losses of {where} are NaN or infinite near {images:,} images, {MOST_STRIKES} times "
                "after going back and halving the rate; try a larger --gamma or a smaller rate"
            )
            raise DivergedError(msg)
        self.until = images + CAREFUL_KIMG * 1000
        return self.factor

    def well(self, images: int) -> bool:
        """Return whether a careful time is over now: the rate is the asked one again."""
        if not self.strikes or images < self.until:
            return False
        self.strikes = 0
        return True

    @property
    def factor(self) -> float:
        """What the rate is multiplied by."""
        return float(0.5**self.strikes)

    def state_dict(self) -> dict[str, Any]:
        """Return what a later step depends on."""
        return {"strikes": self.strikes, "until": self.until}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up what `state_dict` returned."""
        self.strikes, self.until = int(state["strikes"]), float(state["until"])
