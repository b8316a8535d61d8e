"""The steps of a trial as a table for the documentation."""

from __future__ import annotations

import inspect
from typing import get_args

from sfbench.trial.steps import STEPS, Step
from sfbench.values.case import MEASURES
from sfbench.values.job import Task


def markdown() -> str:
    """Return one row per step: what it does, for what it is done, and in which jobs."""
    rows = ["| # | phase | step | measured for | jobs |", "| --- | --- | --- | --- | --- |"]
    rows += [row(number, step) for number, step in enumerate(STEPS, start=1)]
    return "\n".join(rows) + "\n"


def row(number: int, step: Step) -> str:
    """Return a step's row."""
    what = (inspect.getdoc(step.run) or "").partition("\n")[0].rstrip(".")
    measures = [measure for measure in MEASURES if measure in step.measures]
    jobs = [task for task in get_args(Task) if task in step.tasks]
    cells = (number, step.title, what, ", ".join(measures) or "everything", ", ".join(jobs))
    return f"| {' | '.join(map(str, cells))} |".replace("|  |", "| |")
