"""The page's tables: one for each resolution of rows whose numbers are comparable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from sfbench.report.columns import Column, emphasized, filled, with_interval
from sfbench.report.figure import Look
from sfbench.report.glossary import badge_text, header_text
from sfbench.report.row_text import heading, is_several, same_basis, weights_of
from sfbench.store.album import plain
from sfbench.values.flags import flag_text
from sfbench.values.records import digest
from sfbench.values.sizes import size_of

WARNED = frozenset({"random"})
SIDES = ["resolution", "width"]


def page_name(model: str) -> str:
    """Return the file name of a model's own page: safe whatever a plugin calls its model."""
    name = plain(model)
    return f"{name}.html" if name == model else f"{name}-{digest(model)[:8]}.html"


def matrices(
    rows: pd.DataFrame, look: Look, anchors: Mapping[object, str]
) -> Iterator[dict[str, Any]]:
    """Yield the tables of all rows; `anchors`: the name of each row's details on the page."""
    several = is_several(rows)
    for part in same_basis(rows):
        about = heading(part, machine=several).replace("\n", ", ")
        for _, side in part.groupby(SIDES, dropna=False, sort=False):
            yield matrix(side, rows, about, look, anchors)


def matrix(
    part: pd.DataFrame,
    rows: pd.DataFrame,
    about: str,
    look: Look,
    anchors: Mapping[object, str],
) -> dict[str, Any]:
    """Return a table of rows of one resolution on one basis."""
    shown = [column for column in filled(part) if column.header != "px"]
    marked = emphasized(rows, shown)
    px = str(size_of(part.iloc[0]))
    return {
        "heading": f"{px} px",
        "about": about,
        "headers": [
            {"text": column.title, "help": header_text(column), "more": column.wide_only}
            for column in shown
        ],
        "more": sum(column.wide_only for column in shown),
        "rows": [
            {
                "model": row["model"],
                "page": page_name(row["model"]),
                "anchor": anchors.get(index, ""),
                "tint": look.tint(row["model"]),
                "resolution": px,
                "dtype": row["dtype"],
                "variant": row["variant"],
                "cells": [
                    cell(column, row, best=index in marked[column.header]) for column in shown
                ],
                "badges": badges(row),
                "remark": remark(row),
            }
            for index, row in part.iterrows()
        ],
    }


def cell(column: Column, row: Any, *, best: bool) -> dict[str, Any]:
    """Return a value, its interval, what it sorts by, and whether it is clearly the best."""
    text, bounds = with_interval(column, row)
    value = row.get(column.metric) if column.metric else None
    if not column.metric:
        value = text.replace(",", "").split(" ")[0]
    known = value is not None and not (isinstance(value, float) and pd.isna(value))
    return {
        "label": column.title,
        "text": text,
        "interval": f"[{', '.join(bounds)}]" if bounds else "",
        "sort": value if known else "",
        "more": column.wide_only,
        "best": best,
    }


def badges(row: Any) -> list[dict[str, str]]:
    """Return how the row was measured, one word each, explained; limitations are marked."""
    weights = weights_of(row)
    weights = weights if weights == "no weights" else f"{weights} weights"
    words = [weights, row["dtype"], row["mode"], f"batch {row['batch']}"]
    words += [f"{row['trials']} trials"] if row["trials"] > 1 else []
    found = [
        {
            "text": word,
            "kind": "warn" if word.partition(" ")[0] in WARNED else "plain",
            "help": badge_text(word),
        }
        for word in words
    ]
    flags = str(row["flags"] or "").split()
    return found + [{"text": flag, "kind": "warn", "help": flag_text(flag)} for flag in flags]


def remark(row: Any) -> str:
    """Return why the row, or its quality, is missing."""
    if row["status"] != "ok":
        return f"{row['status']}: {row['reason']}"
    reason = row["quality_reason"]
    return f"quality not measured: {reason}" if isinstance(reason, str) else ""


def shown_columns(rows: pd.DataFrame) -> Sequence[Column]:
    """Return every column of the tables of these rows, each once."""
    found = {column.title: column for part in same_basis(rows) for column in filled(part)}
    return list(found.values())
