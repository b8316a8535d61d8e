"""The columns of every table: what a row of the summary shows in them, and which value is marked."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from sfbench.report.comparable import best
from sfbench.report.numbers import ABSENT, number
from sfbench.values.metric import Better
from sfbench.values.metric_names import CORE
from sfbench.values.metrics import METRICS, is_own, metric_of
from sfbench.values.sizes import size_of

ASKEW = 1.25
"""An interval is shown by both ends if one is so many times as far off as the other."""


@dataclasses.dataclass(frozen=True, slots=True)
class Column:
    """One column: its header, and how a row of the summary fills it.

    `metric` times `factor` is the number it shows; `better`: which direction is best, or None.
    `wide_only`: shown in a terminal only where all others fit, too.
    """

    header: str
    cell: Callable[[Any], str]
    metric: str = ""
    factor: float = 1.0
    better: Better | None = None
    wide_only: bool = False

    @property
    def title(self) -> str:
        """The header in one line."""
        return self.header.replace("\n", " ")


def scaled(name: str, factor: float, digits: int = 3) -> Callable[[Any], str]:
    """Return a cell that shows column `name` times `factor`."""

    def cell(row: Any) -> str:
        value = row.get(name)
        return ABSENT if value is None or pd.isna(value) else number(value * factor, digits)

    return cell


def rate(row: Any) -> str:
    """Return images per second with its interval: by its farther end, or both where one is far off."""
    value, low, high = (row.get(f"{CORE}{end}") for end in ("", ".low", ".high"))
    if value is None or pd.isna(value):
        return ABSENT
    if low is None or pd.isna(low):
        return number(value)
    near, far = sorted((high - value, value - low))
    if far > ASKEW * near:
        return f"{number(value)} [{number(low)}, {number(high)}]"
    return f"{number(value)} ±{number(far, 2)}"


def columns(frame: pd.DataFrame) -> list[Column]:
    """Return the available columns: quality under its own name, then speed and size."""
    names = sorted(filter(is_own, frame.columns), key=lambda name: METRICS.index(metric_of(name)))
    names += [metric.name for metric in METRICS if metric.family != "quality"]
    found = {"px": Column("px", lambda row: str(size_of(row)))}
    for name in names:
        declared = metric_of(name)
        if (shown := declared.column) is None:
            continue
        found[name] = Column(
            shown.header,
            CELLS.get(name, scaled(name, shown.factor)),
            metric=name,
            factor=shown.factor,
            better=declared.better,
            wide_only=shown.wide_only,
        )
    return list(found.values())


CELLS: dict[str, Callable[[Any], str]] = {CORE: rate}
"""Cells that show more than one number."""


def filled(frame: pd.DataFrame) -> list[Column]:
    """Return the columns in which at least one row has a value."""
    rows = [row for _, row in frame.iterrows()]
    return [c for c in columns(frame) if any(c.cell(row) != ABSENT for row in rows)]


def with_interval(column: Column, row: Any) -> tuple[str, tuple[str, str] | None]:
    """Return a cell's text, and its bounds if there are any; the text is then the value alone."""
    value, low, high = (row.get(f"{column.metric}{end}") for end in ("", ".low", ".high"))
    if not column.metric or any(one is None or pd.isna(one) for one in (value, low, high)):
        return column.cell(row), None
    value, low, high = (number(one * column.factor) for one in (value, low, high))
    return value, (low, high)


def emphasized(rows: pd.DataFrame, shown: Sequence[Column]) -> dict[str, set[object]]:
    """Return, per header, the rows that are clearly best in that column among comparable ones."""
    return {
        column.header: best(rows, column.metric, column.better) if column.better else set()
        for column in shown
    }
