"""How much of a training run is not training: data, logging, checks, saved states.

    python scripts/training_overhead.py [--model styleformer] [--preset nano-16] [--steps 300]

Runs the first steps of the preset in the product's own loop, with its log and its states as often as
in the whole run, and times what the learner computes in it
(losses, gradients, optimizer, averages) on the same clock. Prints the rest as a share of the whole.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from preset_learner import preset_learner

from sfbench.data.ready import ready_images
from sfbench.hardware import host
from sfbench.hardware.devices import find_backend
from sfbench.train.data_loader import DataLoader
from sfbench.train.engine import Engine
from sfbench.train.log import RunLog
from sfbench.train.loop import Length, Listener, Tick, Trainer

ALLOWED = 0.02
TICKS = 200
"""Lines of the log in a whole run, as the product writes them."""


class Computing:
    """Adds up the seconds that wrapped functions take; calls inside calls count once."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.depth = 0

    def timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, timed."""

        def wrapped(*arguments: Any, **named: Any) -> Any:
            began = time.perf_counter()
            self.depth += 1
            try:
                return function(*arguments, **named)
            finally:
                self.depth -= 1
                if not self.depth:
                    self.seconds += time.perf_counter() - began

        return wrapped


class Logged(Listener):
    """Writes the log as a run does."""

    def __init__(self, folder: Path) -> None:
        self.log = RunLog(folder, 0)

    def tick(self, tick: Tick) -> None:
        """Write a line."""
        self.log.add({"step": tick.step, "kimg": tick.images / 1000, **tick.means})


def main() -> int:
    """Print the share."""
    parser = argparse.ArgumentParser(description="What a training run costs beside training.")
    parser.add_argument("--model", default="styleformer")
    parser.add_argument("--preset", default="nano-16")
    parser.add_argument("--steps", type=int, default=300)
    given = parser.parse_args()
    torch.set_num_threads(host.cpu_count())
    learner, preset = preset_learner(given.model, given.preset)
    computing = Computing()
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        images = ready_images("shapes", preset.resolution, folder, 2000, lambda *_: None)
        loader = DataLoader(
            images=images, batch=preset.batch, seed=0, hflip=False, conditional=False,
            backend=find_backend("cpu"),
        )  # fmt: skip
        whole_run = round(preset.kimg * 1000 / preset.batch)
        length = Length(steps=whole_run, tick=max(whole_run // TICKS, 1), snapshot=1 << 30)
        trainer = Trainer(learner, loader, Engine(0, 1, 1), length, folder / "run", Logged(folder))
        for name in ("generator_losses", "path_losses", "discriminator_losses", "penalties"):
            inner = learner.inner
            setattr(inner, name, computing.timed(getattr(inner, name)))
        for optimizer in learner.inner.optimizers.values():
            optimizer.step = computing.timed(optimizer.step)
        learner.after_step = computing.timed(learner.after_step)
        torch.Tensor.backward = computing.timed(torch.Tensor.backward)  # type: ignore[method-assign]  # this process alone
        trainer.take()
        computing.seconds = 0.0
        began = time.perf_counter()
        for _ in range(given.steps):
            trainer.take()
        whole = time.perf_counter() - began
    share = 1 - computing.seconds / whole
    print(
        f"{given.model} {given.preset}: {given.steps} steps of "
        f"{whole / given.steps * 1000:.1f} ms, {share:.2%} of it beside training "
        f"(allowed {ALLOWED:.0%})"
    )
    return int(share > ALLOWED)


if __name__ == "__main__":
    sys.exit(main())
