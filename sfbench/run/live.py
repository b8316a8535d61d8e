"""Two cases measured in quads of new processes, A, B, B, A, on this machine, now."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from sfbench.api.errors import SfbenchError
from sfbench.report.comparison import Quad
from sfbench.store.quads import KeptQuads, Leg
from sfbench.values.job import Job, Launcher

Progress = Callable[[str, int, int], None]
ORDER = "abba"


class LegError(SfbenchError):
    """A process of a quad failed; says which, and why."""


def measured_legs(
    a: Job,
    b: Job,
    quads: int,
    launcher: Launcher,
    *,
    timeout_seconds: float,
    progress: Progress,
    kept: KeptQuads | None = None,
) -> list[list[Leg]]:
    """Return the legs of each quad, those first that are kept; raises LegError when one fails."""
    found = [] if kept is None else kept.load()[:quads]
    total = quads * len(ORDER)
    if found:
        progress("processes", len(found) * len(ORDER), total)
    for number in range(len(found), quads):
        legs = []
        for place, side in enumerate(ORDER):
            job = a if side == "a" else b
            record = launcher(
                dataclasses.replace(job, task="core"), timeout_seconds, lambda _event: None
            )
            if record.status != "ok":
                msg = f"{job.case.title()} ({side.upper()}): {record.status}: {record.reason}"
                raise LegError(msg)
            values = {r.metric: r.value for r in record.readings if r.value is not None}
            legs.append(Leg(side, values))
            progress("processes", number * len(ORDER) + place + 1, total)
        found.append(legs)
        if kept is not None:
            kept.add(legs)
    return found


def quads_of(legs: Sequence[Sequence[Leg]], metric: str) -> list[Quad] | None:
    """Return the quads of one metric; None if a process did not measure it."""
    quads = []
    for quad in legs:
        values: dict[str, list[float]] = {"a": [], "b": []}
        for leg in quad:
            value = leg.values.get(metric)
            if value is None or value <= 0:
                return None
            values[leg.side].append(value)
        quads.append(Quad((values["a"][0], values["a"][1]), (values["b"][0], values["b"][1])))
    return quads
