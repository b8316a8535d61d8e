"""The table of a verification: here, there, the difference, and whether it is within the card's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text


def table(found: Sequence[Any]) -> RenderableType:
    """Return the table for a terminal of 80 columns."""
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    shown.add_column("metric and package", overflow="fold")
    for name in ("here", "there", "difference", "tolerance"):
        shown.add_column(name, justify="right", no_wrap=True)
    shown.add_column("", no_wrap=True)
    reasons = []
    for one in found:
        shown.add_row(
            Text(f"{one.metric}\n  {one.peer}"),
            exact(one.ours),
            exact(one.theirs),
            "-" if one.difference is None else f"{one.difference:+.1e}",
            "-" if one.tolerance is None else f"{one.tolerance:.1e}",
            "holds" if one.holds else "FAILED",
        )
        if one.reason is not None:
            reasons.append(Text(f"{one.peer}: {one.reason}"))
        elif one.ours is None:
            reasons.append(Text(f"{one.metric}: not measured here; see its reading"))
    return Group(shown, *reasons)


def exact(value: float | None) -> str:
    """Return a value with seven digits."""
    return "-" if value is None else f"{value:.7g}"
