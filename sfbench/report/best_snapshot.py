"""The best snapshot of a training run, and how much of its advantage is the luck of choosing it."""

from __future__ import annotations

import dataclasses

import numpy as np

from sfbench.store.training_runs import TrainingRun
from sfbench.values.metrics import is_distance

PREFIX = "quality/"
ERROR = "/standard_error"
DRAWS = 4000


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BestSnapshot:
    """The least distance of a run's snapshots, and by how much choosing it makes it too low.

    `optimism` is None where the log has no standard errors. It takes the errors of snapshots as
    independent; where they share seeds and real images, as in `sfbench train`, it is at most that.
    """

    metric: str
    value: float
    kimg: float | None
    snapshots: int
    optimism: float | None

    def told(self) -> str:
        """Return it as a sentence."""
        where = "" if self.kimg is None else f" at {self.kimg:.4g} kimg"
        text = f"best of {self.snapshots} snapshots: {self.metric} {self.value:.4g}{where}"
        if self.optimism is None or self.snapshots == 1:
            return text
        return f"{text}; being chosen as the least makes it up to {self.optimism:.2g} too low"


def best_snapshot(run: TrainingRun) -> BestSnapshot | None:
    """Return the best snapshot by the distance that most snapshots have; None without any."""
    found: dict[str, list[tuple[float, float | None, float | None]]] = {}
    for line in run.lines:
        for name, value in line.items():
            metric = name.removeprefix(PREFIX)
            if is_distance(metric) and isinstance(value, int | float):
                error = line.get(name + ERROR)
                found.setdefault(metric, []).append((float(value), error, line.get("kimg")))
    if not found:
        return None
    metric, rows = max(found.items(), key=lambda item: len(item[1]))
    value, _, kimg = min(rows, key=lambda row: row[0])
    errors = [row[1] for row in rows]
    known = [float(error) for error in errors if isinstance(error, int | float)]
    return BestSnapshot(
        metric=metric,
        value=value,
        kimg=kimg,
        snapshots=len(rows),
        optimism=optimism([row[0] for row in rows], known) if len(known) == len(rows) else None,
    )


def optimism(values: list[float], errors: list[float]) -> float:
    """Return how much lower the least of noisy values is, on average, than what it estimates.

    By drawing every value anew with its standard error around itself, and choosing again (a
    parametric bootstrap of the winner's curse).
    """
    center = np.asarray(values)
    noise = np.random.default_rng(0).normal(size=(DRAWS, len(center))) * np.asarray(errors)
    chosen = (center + noise).argmin(axis=1)
    return float(-noise[np.arange(DRAWS), chosen].mean())
