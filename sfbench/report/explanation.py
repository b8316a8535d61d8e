"""The steps between two protocols as a table for a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from rich import box
from rich.table import Table
from rich.text import Text

from sfbench.report.numbers import number

DIGITS = 6


class StepLike(Protocol):
    """What the table needs of a step."""

    @property
    def metric(self) -> str:
        """The number's name."""
        ...

    @property
    def factor(self) -> str:
        """The convention, or "start"."""
        ...

    @property
    def before(self) -> str:
        """What it was."""
        ...

    @property
    def after(self) -> str:
        """What it became."""
        ...

    @property
    def value(self) -> float:
        """The number after it."""
        ...

    @property
    def change(self) -> float:
        """What it changed."""
        ...


def steps_table(steps: Sequence[StepLike]) -> Table:
    """Return one row per convention: what it was, what it became, the number, and the change."""
    found = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    found.add_column("convention")
    found.add_column("from -> to", overflow="fold")
    found.add_column("value", justify="right", no_wrap=True)
    found.add_column("change", justify="right", no_wrap=True)
    for index, step in enumerate(steps):
        if step.factor == "start":
            if index:
                found.add_section()
            found.add_row(Text(step.metric), step.after, number(step.value, DIGITS), "")
            continue
        same = step.before == step.after
        found.add_row(
            f"  {step.factor}",
            "same" if same else f"{step.before} -> {step.after}",
            "" if same else number(step.value, DIGITS),
            "" if same else signed(step.change),
        )
    return found


def signed(value: float) -> str:
    """Return a change with its sign."""
    return ("+" if value > 0 else "") + number(value, 3)
