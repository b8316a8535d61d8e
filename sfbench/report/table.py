"""The summary frame as tables for a terminal of 80 columns, and as Markdown.

The best value of a resolution is bold where its interval overlaps no other's.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pandas as pd
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sfbench.report.best import best
from sfbench.values.metric_names import CORE, DEVICE_ALLOCATED, HOST_PEAK
from sfbench.values.metrics import (
    MEBI,
    METRICS,
    Better,
    is_headline,
    metric_of,
)
from sfbench.values.sizes import size_of

ABSENT = "-"
NAME_WIDTH = 21
ASKEW, NARROW = 2, 0.5
"""An interval is shown by both ends if one is twice as far off as the other, and half the value."""


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


def number(value: Any, digits: int = 3) -> str:
    """Return a number with about `digits` significant digits, or a dash if there is none."""
    if value is None or pd.isna(value):
        return ABSENT
    if value == 0 or not math.isfinite(value):
        return f"{value:g}" if value else "0"
    magnitude = math.floor(math.log10(abs(value)))
    if magnitude < -digits:
        return f"{value:.{digits - 1}e}"
    return f"{value:,.{max(0, digits - 1 - magnitude)}f}"


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
    if far > ASKEW * near and far > NARROW * value:
        return f"{number(value)} [{number(low)}, {number(high)}]"
    return f"{number(value)} ±{number(far, 2)}"


def peak(row: Any) -> str:
    """Return the peak memory in MiB: the device's where there is one, else the host's."""
    device = row.get(DEVICE_ALLOCATED)
    if device is not None and not pd.isna(device):
        return number(device / MEBI)
    return scaled(HOST_PEAK, 1 / MEBI)(row)


def columns(frame: pd.DataFrame) -> list[Column]:
    """Return the available columns: quality under its own name, then speed and size."""
    names = [*filter(is_headline, frame.columns)]
    names += [metric.name for metric in METRICS if metric.family != "quality"]
    found = {"px": Column("px", lambda row: str(size_of(row)))}
    for name in names:
        declared = metric_of(name)
        if (shown := declared.column) is None:
            continue
        if shown.header in found and declared.family != "quality":
            continue  # the peak of a device stands in the column of the host's
        cell = CELLS.get(name, scaled(name, shown.factor))
        # Two different metrics in one column cannot be compared.
        mixed = cell is peak
        found[name if declared.family == "quality" else shown.header] = Column(
            shown.header,
            cell,
            metric="" if mixed else name,
            factor=shown.factor,
            better=None if mixed else declared.better,
            wide_only=shown.wide_only,
        )
    return list(found.values())


CELLS: dict[str, Callable[[Any], str]] = {CORE: rate, HOST_PEAK: peak}
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


def emphasized(
    part: pd.DataFrame, shown: Sequence[Column], rows: pd.DataFrame
) -> dict[str, set[object]]:
    """Return, per header, the rows of a part that are clearly best in that column.

    Speed and memory are compared among all rows of the machine and device, whatever their quality
    was measured on.
    """
    place = part.iloc[0]
    here = rows[(rows["machine"] == place["machine"]) & (rows["device"] == place["device"])]
    found: dict[str, set[object]] = {}
    for column in shown:
        of_quality = column.better and metric_of(column.metric).family == "quality"
        among = part if of_quality else here
        found[column.header] = best(among, column.metric, column.better) if column.better else set()
    return found


BADGES = {"option": "file"}
"""How kinds of weights are shown, where their stored name says where they were named."""


def badges(row: Any) -> str:
    """Return how the row was made: weights, precision, mode, batch size, trials."""
    weights = BADGES.get(row["weights"], row["weights"])
    words = [weights, row["dtype"], row["mode"], f"b{row['batch']}"]
    if row["trials"] > 1:
        words.append(f"x{row['trials']}")
    return " ".join(words)


def described(row: Any) -> str:
    """Return the badges, and the options in which the model's rows differ."""
    return f"{badges(row)} {row['variant']}".strip()


def same_basis(frame: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Yield the rows whose quality numbers are comparable, machine by machine."""
    for _, part in frame.groupby(["machine", "device", "quality"], sort=False, dropna=False):
        yield part


def heading(part: pd.DataFrame, *, machine: bool = False) -> str:
    """Return the basis of a part's numbers, and the machine if there are several."""
    quality = part["quality"].iloc[0]
    extractor = quality.partition(",")[0]
    name = "FID" if extractor == "inception-v3" else f"FD = fd[{extractor}]"
    lines = f"{name}\n{quality.partition(', ')[2]}" if quality else "quality not measured"
    place = f"{part['device'].iloc[0]}"
    place += f" of machine {part['machine'].iloc[0]}" if machine else ""
    return f"{place} · {lines}"


def fitting(shown: Sequence[Column], part: pd.DataFrame, width: int) -> list[Column]:
    """Return the columns that fit beside the model's name, those of wide terminals last to come."""
    names = [len(row["model"]) for _, row in part.iterrows()]
    details = [len(status(row)) for _, row in part.iterrows()]
    left = width - 2 - max(NAME_WIDTH, *names, *details)
    taken: list[Column] = []
    for column in sorted(shown, key=lambda column: column.wide_only):
        cells = (len(column.cell(row)) for _, row in part.iterrows())
        left -= max(len(column.header), *cells) + 2
        if left < 0:
            break
        taken.append(column)
    return [column for column in shown if column in taken]


def terminal(frame: pd.DataFrame, notes: Sequence[str], width: int = 80) -> RenderableType:
    """Return tables for a terminal of that many characters, and notes below.

    A column that does not fit is left out and named: no number is cut.
    """
    parts: list[RenderableType] = []
    several = len(frame["machine"].unique()) > 1
    for part in same_basis(frame):
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
        there = filled(part)
        shown = fitting(there, part, width)
        table.add_column("model", no_wrap=True, min_width=NAME_WIDTH)
        for column in shown:
            table.add_column(column.header, justify="right", no_wrap=True)
        marked = emphasized(part, shown, frame)
        for index, row in part.iterrows():
            name = Text(row["model"]).append(f"\n{status(row)}", style="dim")
            for option in filter(None, row["variant"].split("; ")):
                name.append(f"\n{option}", style="dim")
            cells = (
                Text(column.cell(row), style="bold" if index in marked[column.header] else "")
                for column in shown
            )
            table.add_row(name, *cells)
        parts += [Text(heading(part, machine=several), style="bold"), table]
        left_out = [c.header for c in there if c not in shown and not c.wide_only]
        if left_out:
            words = f"not enough room for {', '.join(left_out)}: --format md, csv, json or --html"
            parts.append(Text(words, style="dim"))
        parts += remarks(part)
    parts += [Text(note, style="dim") for note in notes]
    return Group(*parts)


def status(row: Any) -> str:
    """Return the status of a row and its badges."""
    return f"{row['status']} · {badges(row)}"


def remarks(part: pd.DataFrame) -> list[Text]:
    """Return one line for every row that failed or was flagged; equal lines once."""
    lines: dict[tuple[str, str], None] = {}
    for _, row in part.iterrows():
        name = f"{row['model']} {size_of(row)} px"
        if row["status"] != "ok":
            lines[f"{name}: {row['status']}: {row['reason']}", "red"] = None
        if isinstance(row["quality_reason"], str) and row["status"] == "ok":
            lines[f"{name}: quality not measured: {row['quality_reason']}", "red"] = None
        if row["flags"]:
            lines[f"{name}: flagged {row['flags']}", "yellow"] = None
    return [Text(line, style=style) for line, style in lines]


def literal(cell: str) -> str:
    """Return text of a Markdown table's cell that means itself."""
    return re.sub(r"([\\|`*\[\]])", r"\\\1", cell).replace("<", "&lt;")


def markdown(frame: pd.DataFrame) -> str:
    """Return the tables as GitHub-flavoured Markdown."""
    blocks = []
    several = len(frame["machine"].unique()) > 1
    for part in same_basis(frame):
        shown = [
            Column("model", lambda row: row["model"]),
            *filled(part),
            Column("how", described),
            Column("status", lambda row: row["status"]),
        ]
        marked = emphasized(part, shown, frame)
        lines = [f"**{heading(part, machine=several)}**".replace("\n", ": "), ""]
        lines.append("| " + " | ".join(column.header for column in shown) + " |")
        lines.append("| " + " | ".join("---" for _ in shown) + " |")
        for index, row in part.iterrows():
            cells = [
                f"**{literal(column.cell(row))}**"
                if index in marked[column.header]
                else literal(column.cell(row))
                for column in shown
            ]
            lines.append("| " + " | ".join(cells) + " |")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"
