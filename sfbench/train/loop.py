"""The training loop: steps, log ticks, periodic states, and rollback after NaN."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sfbench.api.learning import Learner, Phase, Shard
from sfbench.train.data_loader import DataLoader
from sfbench.train.engine import Engine
from sfbench.train.guard import Guard
from sfbench.train.operations import Operations
from sfbench.train.state import Saver, finite, load_state

YOUNG_SHARE = 0.1
"""A new run saves sooner: after a tenth of its time so far."""
SAVE_SHARE = 0.005
"""States that take long to copy are saved less often: at most this fraction of the time."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Length:
    """In steps: the whole run, the interval of log lines, the interval of snapshots.

    No snapshot is taken within half its interval of the last one. `save_seconds`: time from one
    saved state to the next.
    """

    steps: int
    tick: int
    snapshot: int
    save_seconds: float = 20.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A line of the log: means since the line before, over all shards."""

    step: int
    images: int
    means: Mapping[str, float]
    seconds: float
    steps: int
    operations: float


class Listener:
    """Callbacks of a run: override as needed. They must not change the run."""

    def tick(self, tick: Tick) -> None:
        """Receive a line of the log."""

    def snapshot(self, step: int) -> None:
        """Handle a due snapshot; the learner has done `step` steps."""

    def went_back(self, phases: list[str], step: int, factor: float) -> None:
        """Handle a rollback to `step`."""


class Trainer:
    """A run from its newest state, or its start, to its last step.

    All processes of a run do the same; only the first writes. The state decides every later step:
    an interrupted and resumed run ends exactly as an uninterrupted one.
    """

    def __init__(
        self,
        learner: Learner,
        loader: DataLoader,
        engine: Engine,
        length: Length,
        folder: Path,
        listener: Listener,
    ) -> None:
        self.learner = learner
        self.loader = loader
        self.engine = engine
        self.length = length
        self.folder = folder
        self.listener = listener
        self.guard = Guard()
        self.operations = Operations()
        self.saver = Saver(folder)
        self.step = 0
        self.sums: dict[str, tuple[Tensor, int]] = {}
        self.saved = time.monotonic()
        self.save_seconds = 0.0
        self.began = self.saved
        self.tick_began = time.monotonic()
        self.tick_step = 0

    @property
    def images(self) -> int:
        """Real images seen."""
        return self.step * self.loader.batch

    @property
    def last(self) -> bool:
        """Whether the last step is done; a rollback undoes it."""
        return self.step == self.length.steps

    def resume(self) -> str | None:
        """Restore the newest state, if there is one; return a warning about damaged ones."""
        found = load_state(self.folder)
        if found is None:
            return None
        self.step = found.step
        self.learner.load_state_dict(found.tree["learner"])
        self.guard.load_state_dict(found.tree["guard"])
        self.sums = {name: (total, count) for name, (total, count) in found.tree["sums"].items()}
        self.learner.scale_rate(self.guard.factor)
        self.tick_step, self.tick_began = self.step, time.monotonic()
        return found.complaint

    def run(self) -> None:
        """Train to the last step. An interrupt saves the state of the last whole step."""
        self.tick_began = time.monotonic()
        if self.step == 0:
            self.save()
            self.listener.snapshot(0)
        try:
            while self.step < self.length.steps:
                self.engine.stop_when_orphaned()
                self.take()
        except KeyboardInterrupt:
            if not self.guard.sick():
                self.save()
            raise
        finally:
            self.saver.finish()

    def take(self) -> None:
        """Do one step, and whatever is due after it."""
        means = self.updates()
        means |= self.learner.after_step(self.step)
        self.step += 1
        for name, value in means.items():
            if value.numel() == 1:
                total, count = self.sums.get(name, (torch.zeros_like(value), 0))
                self.sums[name] = (total + value, count + 1)
        if self.step % self.length.tick == 0 or self.last:
            self.tick()
        due = time.monotonic() - self.saved > self.save_seconds
        if self.engine.agreed(float(due or self.last)):
            self.save()
        left = self.length.steps - self.step
        if (self.step % self.length.snapshot == 0 and 2 * left > self.length.snapshot) or self.last:
            began = time.monotonic()
            self.listener.snapshot(self.step)
            self.tick_began += time.monotonic() - began  # pictures do not count as training

    def updates(self) -> dict[str, Tensor]:
        """Do the phases of this step; return their means."""
        shards = [self.loader.shard(self.step, *place) for place in self.engine.shards]
        found: dict[str, Tensor] = {}
        for phase in self.learner.phases(self.step):
            found |= self.update(phase, shards)
        return found

    def update(self, phase: Phase, shards: list[Shard] | list[Any]) -> dict[str, Tensor]:
        """Do one phase on all shards of this process, together with all other processes."""
        for parameter in phase.parameters:
            parameter.requires_grad_()
        try:
            return self.minimize(phase, shards)
        finally:
            for parameter in phase.parameters:
                parameter.requires_grad = False

    def minimize(self, phase: Phase, shards: list[Any]) -> dict[str, Tensor]:
        """Take gradients of every shard, sum them over processes, and let the optimizer step."""
        phase.optimizer.zero_grad(set_to_none=True)
        means: dict[str, Tensor] = {}
        if phase.measure is not None and not self.engine.alone:
            means = self.engine.mean([phase.measure(shard) for shard in shards])
        found = []
        with self.operations.counted(phase.name):
            for shard in shards:
                losses = phase.losses(shard, means)
                (losses.minimized / shard.count).backward()
                self.guard.watch(phase.name, losses.minimized)
                found.append(losses.means)
        self.engine.all_reduce(phase.parameters)
        overall = self.engine.mean(found)
        phase.optimizer.step()
        if phase.after is not None:
            phase.after(overall)
        return overall

    def tick(self) -> None:
        """Write a line of the log, or roll back after a NaN or infinite loss."""
        if self.went_back():
            return
        line = Tick(
            step=self.step,
            images=self.images,
            means={name: float(total) / count for name, (total, count) in self.sums.items()},
            seconds=time.monotonic() - self.tick_began,
            steps=self.step - self.tick_step,
            operations=self.operations.taken() * self.engine.world,
        )
        self.sums, self.tick_step = {}, self.step
        if self.guard.well(self.images):
            self.learner.scale_rate(1.0)
        self.listener.tick(line)
        self.tick_began = time.monotonic()

    def went_back(self) -> bool:
        """Roll back to the last good state, at a lower rate, if any process saw a bad loss."""
        phases = self.guard.sick()
        flag = torch.tensor(float(bool(phases)), device=self.loader.backend.name)
        if float(self.engine.mean([{"sick": flag}])["sick"]) == 0:
            return False
        self.saver.finish()
        self.engine.wait()
        factor = self.guard.strike(phases or ["another process"], self.images)
        struck = self.guard.state_dict()
        self.resume()
        self.guard.load_state_dict(struck)
        self.learner.scale_rate(factor)
        self.listener.went_back(phases, self.step, factor)
        return True

    def save(self) -> None:
        """Save the state if it is good; the first process writes."""
        if self.guard.bad and self.went_back():
            return
        began = time.monotonic()
        if self.engine.rank == 0:
            tree = {
                "learner": self.learner.state_dict(),
                "guard": self.guard.state_dict(),
                "sums": {name: [total, count] for name, (total, count) in self.sums.items()},
            }
            if not finite(tree["learner"]):
                self.guard.bad["weights"] = torch.ones((), dtype=torch.bool)
            else:
                self.saver.save(self.step, tree)
                if self.step == 0 or self.last:
                    self.saver.finish()
        self.engine.wait()
        self.saved = time.monotonic()
        young = max((self.saved - self.began) * YOUNG_SHARE, 1.0)
        wanted = min(self.length.save_seconds, young)
        self.save_seconds = max(wanted, (self.saved - began) / SAVE_SHARE)
