"""Measures a trial inside the calling process: for tests, where starting processes takes longest.

A trial that crashes takes its caller down, nothing ends one that hangs, and cold costs mean
nothing: use it for trials of known code alone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Iterator

from sfbench.generators.execution import COMPILE_MODES
from sfbench.hardware.policy import kept_settings
from sfbench.trial import worker
from sfbench.values.job import Job, Launcher, OnEvent
from sfbench.values.records import Record


def in_process(others: Launcher) -> Launcher:
    """Return a launcher that measures in this process; jobs that need their own go to `others`.

    Those are jobs with a limit of memory, another interpreter, or a compile mode, which would
    stay behind in this process.
    """

    def launch(job: Job, timeout_seconds: float, on_event: OnEvent) -> Record:
        if needs_process(job):
            return others(job, timeout_seconds, on_event)
        with kept_settings(), kept_environment():
            return worker.measured(dataclasses.replace(job, spawned=time.time()), on_event)

    return launch


@contextlib.contextmanager
def kept_environment() -> Iterator[None]:
    """Restore the environment afterwards: packages set variables when they are imported."""
    before = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def needs_process(job: Job) -> bool:
    """Return whether the job would change this process, or asks for another."""
    return (
        job.memory_limit is not None
        or job.interpreter is not None
        or job.case.mode in COMPILE_MODES
    )
