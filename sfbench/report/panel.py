"""The panel of feature spaces as a table: a block for each set of images, then the alarms."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sfbench.quality.panel import Flip, Space, mean_ratio
from sfbench.report.numbers import number
from sfbench.values.messages import counted


def table(found: Any) -> RenderableType:
    """Return the tables for a terminal of 80 columns."""
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    shown.add_column("images and space", overflow="fold")
    for name in ("distance", "held-out", "FDr", "95 %", "rank"):
        shown.add_column(name, justify="right", no_wrap=True)
    for name in found.names:
        shown.add_row(Text(name, style="bold"))
        for space in found.spaces:
            row = row_of(space, name)
            if row is not None:
                shown.add_row(*row)
        shown.add_row("  mean", "", "", number(mean_ratio(found.spaces, name), 4), "", "")
    return Group(shown, Text(), *(Text(line) for line in notes(found)))


def row_of(space: Space, name: str) -> tuple[RenderableType, ...] | None:
    """Return the cells of one set in one space; None where it has none."""
    for one in space.standings:
        if one.name == name:
            bounds = "-" if one.low is None else f"[{number(one.low)}, {number(one.high)}]"
            several = len(space.standings) > 1
            return (
                Text(f"  {space.metric}"),
                number(one.distance, 4),
                number(space.held_out, 4),
                number(one.ratio, 4),
                bounds,
                str(one.rank) if several else "-",
            )
    return None


def notes(found: Any) -> Iterator[str]:
    """Yield what must be known of the numbers."""
    for flip in found.flips:
        yield alarm(flip)
    measured = [space for space in found.spaces if space.standings]
    if len(found.names) > 1 and not found.flips and len(measured) > 1:
        yield "all spaces rank the sets alike"
    for space in found.spaces:
        if space.reason is not None:
            yield f"{space.extractor}: {space.reason}"
    slopes = [f"{name} {value:+.3f}" for name, value in found.slopes.items() if value is not None]
    if slopes:
        yield f"spectral slope less that of the reference (0 is best): {', '.join(slopes)}"
    yield (
        f"FDr: distance over that of as many held-out real images ({found.images:,}), to "
        f"{counted(found.real, 'real image')}; 1 is as near as real images come"
    )


def alarm(flip: Flip) -> str:
    """Return an alarm about two sets."""
    sides = (
        f"{flip.a} is ahead of {flip.b} in {', '.join(flip.a_ahead)}, behind in "
        f"{', '.join(flip.b_ahead)}"
    )
    if flip.certain:
        return f"ALARM, ranks flip: {sides}; no space alone decides"
    return f"ranks flip, within their errors: {sides}"
