"""The summary frame as tables for a terminal, and as Markdown.

The best value of a resolution is bold where its interval overlaps no other's.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

import pandas as pd
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sfbench.report.columns import Column, emphasized, filled, with_interval
from sfbench.report.row_text import badges, described, heading, is_several, same_basis
from sfbench.values.flags import flag_text
from sfbench.values.metrics import is_distance, metric_of
from sfbench.values.sizes import size_of

NAME_WIDTH = 21
ONE_LINE = 120
"""Characters of a terminal from which a row is one line."""
MOST_DETAIL = 48
MOST_FLAGGED = 3


def fitting(shown: Sequence[Column], part: pd.DataFrame, room: int) -> list[Column]:
    """Return the columns that fit into so many characters, those of wide terminals last to come."""
    taken: list[Column] = []
    for column in sorted(shown, key=urgency):
        cells = (len(column.cell(row)) for _, row in part.iterrows())
        lines = (len(line) for line in column.header.split("\n"))
        room -= max(*lines, *cells) + 2
        if room < 0:
            break
        taken.append(column)
    return [column for column in shown if column in taken]


def urgency(column: Column) -> tuple[bool, bool]:
    """Return what columns are taken by, first to last; of wide terminals, quality comes last."""
    judged = bool(column.metric) and metric_of(column.metric).family == "quality"
    return column.wide_only, column.wide_only and judged


def terminal(frame: pd.DataFrame, notes: Sequence[str], width: int = 80) -> RenderableType:
    """Return tables for a terminal of that many characters, and notes below.

    From `ONE_LINE` characters on, a row is one line. A column that does not fit is left out and
    named: no number is cut.
    """
    parts: list[RenderableType] = []
    several = is_several(frame)
    for part in same_basis(frame):
        there = filled(part)
        table, shown = drawn(part, frame, there, width)
        parts += [Text(heading(part, machine=several), style="bold"), table]
        left_out = [
            c.title
            for c in there
            if c.title not in {one.title for one in shown} and not c.wide_only
        ]
        if left_out:
            words = f"not enough room for {', '.join(left_out)}: --format md, csv, json or --html"
            parts.append(Text(words, style="dim"))
        parts += remarks(part)
    parts += [Text(note, style="dim") for note in notes]
    return Group(*parts)


def drawn(
    part: pd.DataFrame, frame: pd.DataFrame, there: Sequence[Column], width: int
) -> tuple[Table, list[Column]]:
    """Return the table of rows on one basis, and the columns that fit into it."""
    details = [
        [status(row), *filter(None, row["variant"].split("; "))] for _, row in part.iterrows()
    ]
    one_line = width >= ONE_LINE
    # What is longer than a good part of the terminal is broken: numbers come first.
    most = max(NAME_WIDTH, width // 3)
    names = max(NAME_WIDTH, *(len(name) for name in part["model"]))
    if one_line:
        how = min(max(len(" · ".join(lines)) for lines in details), MOST_DETAIL)
        names = min(names, most)
        room = width - names - how - 5
        there = [bounded(column) for column in there]
    else:
        names = min(max(names, *(len(line) for lines in details for line in lines)), most)
        room = width - 2 - names
    shown = fitting(there, part, room)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("model", min_width=NAME_WIDTH, max_width=names, overflow="fold")
    for column in shown:
        table.add_column(column.header, justify="right", no_wrap=True)
    if one_line:
        table.add_column("how", max_width=how, style="dim", overflow="fold")
    marked = emphasized(frame, shown)
    for (index, row), lines in zip(part.iterrows(), details, strict=True):
        name = Text(row["model"])
        cells = [
            Text(column.cell(row), style="bold" if index in marked[column.header] else "")
            for column in shown
        ]
        if one_line:
            table.add_row(name, *cells, Text(" · ".join(lines), style="dim"))
        else:
            table.add_row(name.append("".join(f"\n{line}" for line in lines), style="dim"), *cells)
    return table, shown


def bounded(column: Column) -> Column:
    """Return a column of a distance whose cells also show the interval; any other as it is."""
    if not is_distance(column.metric):
        return column

    def cell(row: Any) -> str:
        text, bounds = with_interval(column, row)
        return text if bounds is None else f"{text} [{', '.join(bounds)}]"

    return dataclasses.replace(column, cell=cell)


def status(row: Any) -> str:
    """Return the badges of a row, after its status where that is not ok."""
    return badges(row) if row["status"] == "ok" else f"{row['status']} · {badges(row)}"


def remarks(part: pd.DataFrame) -> list[Text]:
    """Return why rows failed or lack quality, and which were flagged, with what a flag means."""
    lines: dict[tuple[str, str], None] = {}
    flagged: dict[str, dict[str, None]] = {}
    for _, row in part.iterrows():
        name = f"{row['model']} {size_of(row)} px"
        if row["status"] != "ok":
            lines[f"{name}: {row['status']}: {row['reason']}", "red"] = None
        if isinstance(row["quality_reason"], str) and row["status"] == "ok":
            lines[f"{name}: quality not measured: {row['quality_reason']}", "red"] = None
        for flag in str(row["flags"] or "").split():
            flagged.setdefault(flag, {})[name] = None
    for flag, names in flagged.items():
        few = ", ".join(list(names)[:MOST_FLAGGED])
        more = f" and {len(names) - MOST_FLAGGED} more" if len(names) > MOST_FLAGGED else ""
        lines[f"{flag}: {few}{more} ({flag_text(flag)})", "yellow"] = None
    return [Text(line, style=style) for line, style in lines]


def literal(cell: str) -> str:
    """Return text of a Markdown table's cell that means itself."""
    return re.sub(r"([\\|`*\[\]])", r"\\\1", cell).replace("<", "&lt;")


def markdown(frame: pd.DataFrame) -> str:
    """Return the tables as GitHub-flavoured Markdown."""
    blocks = []
    several = is_several(frame)
    for part in same_basis(frame):
        shown = [
            Column("model", lambda row: row["model"]),
            *filled(part),
            Column("how", described),
            Column("status", lambda row: row["status"]),
        ]
        marked = emphasized(frame, shown)
        lines = [f"**{heading(part, machine=several)}**".replace("\n", ": "), ""]
        headers = (column.title for column in shown)
        lines.append("| " + " | ".join(headers) + " |")
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
