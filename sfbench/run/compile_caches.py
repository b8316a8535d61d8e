"""Cold means cold: each trial of a compile mode has compiler caches of its own, empty at its start.

The cost of compiling with filled caches is measured by a second process with the same folder.
"""

from __future__ import annotations

import dataclasses
import tempfile

from sfbench.values.job import Job, Launcher, OnEvent
from sfbench.values.metric_names import COLD_COMPILE, WARM_COMPILE
from sfbench.values.records import Record


def with_own_caches(launcher: Launcher) -> Launcher:
    """Return a launcher that gives compiling trials a private cache, and also measures it warm."""

    def launch(job: Job, timeout_seconds: float, on_event: OnEvent) -> Record:
        if not job.case.mode.startswith("compile"):
            return launcher(job, timeout_seconds, on_event)
        with tempfile.TemporaryDirectory(prefix="sfbench-caches-") as folder:
            private = dataclasses.replace(job, caches=folder)
            record = launcher(private, timeout_seconds, on_event)
            compiled = any(reading.metric == COLD_COMPILE for reading in record.readings)
            if record.status != "ok" or not compiled:
                return record
            on_event({"phase": "compile again, caches filled"})
            again = launcher(
                dataclasses.replace(private, task="warm", notes=()), timeout_seconds, lambda _: None
            )
        warm = tuple(r for r in again.readings if r.metric == WARM_COMPILE)
        return dataclasses.replace(record, readings=(*record.readings, *warm))

    return launch
