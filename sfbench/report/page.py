"""The report as one HTML page: no network, no file beside it, readable with and without scripts."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import markupsafe
import pandas as pd

from sfbench.report import frame
from sfbench.report.figure import Figure
from sfbench.report.figures import figures
from sfbench.report.gallery import gallery
from sfbench.report.headline import headline
from sfbench.report.measurements import measurements
from sfbench.report.pairing import joined_case, paired
from sfbench.report.table import (
    Column,
    emphasized,
    filled,
    heading,
    number,
    same_basis,
    with_interval,
)
from sfbench.store.album import Album
from sfbench.store.album import plain as plain_name
from sfbench.store.training_runs import TrainingRun
from sfbench.values.case import COLUMNS, request_of, weights_words
from sfbench.values.records import Record, digest, plugin_file
from sfbench.values.sizes import size_of

FILES = Path(__file__).parent / "page_files"
FILTERS = (("model", "Model"), ("resolution", "Resolution (px)"), ("dtype", "Precision"))
TIDY = (
    *COLUMNS, "weights",
    "options", "quality", "machine", "trial", "metric", "value", "low", "high", "unit", "reason",
)  # fmt: skip
WARNED = frozenset({"random"})
DIGITS = 4
MOST_RECORDS = 300
"""Most records of a page: keeps it under 3 MB, pictures included."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What a page shows beside its records: pictures, training logs, and notes.

    `options`: the default options of each model, for the commands.
    """

    options: Mapping[str, Mapping[str, Any]]
    albums: Sequence[Album] = ()
    runs: Sequence[TrainingRun] = ()
    notes: Sequence[str] = ()


def page(records: Sequence[Record], beside: Beside, title: str) -> str:
    """Return the page.

    Every figure is drawn from the frame that is shown below it as a table, and every table from the
    summary of `records`.
    """
    options, there = beside.options, len(records)
    whole = measurements(records)
    recent = frame.most_recent(whole.heads, MOST_RECORDS)
    records, found = [records[place] for place in recent], whole.of(recent)
    rows = paired(frame.summary(found))
    newest = {record.identity: record for record in records}
    several = len(set(rows["machine"])) > 1
    return rendered(
        "page.html.j2",
        title=title,
        verdict=headline(rows),
        made=made(records),
        script=raw((FILES / "page.js").read_text(encoding="utf-8")),
        filters=[choices(rows, name, label) for name, label in FILTERS],
        count=len(rows),
        results=[
            part_of(part, rows, newest, options, machine=several) for part in same_basis(rows)
        ],
        figures=[shown(figure) for figure in figures(rows, records, beside.runs)],
        gallery=gallery(beside.albums, options),
        notes=[*beside.notes, *left_out(there - len(records))],
        machines=machines(records),
        differences=differences(records),
        data=raw(embedded(frame.tidy(found))),
    )


def left_out(count: int) -> list[str]:
    """Return the note about records that do not fit on a page."""
    return (
        [f"{count:,} older records are not shown: select with --model and --res."] if count else []
    )


def rendered(template: str, **values: Any) -> str:
    """Return a page of a template, with the style that all pages share."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FILES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    style = raw((FILES / "page.css").read_text(encoding="utf-8"))
    return environment.get_template(template).render(style=style, **values)


def raw(text: str) -> markupsafe.Markup:
    """Return text of this program's own, to be inserted as it is."""
    return markupsafe.Markup(text)  # noqa: S704  # never a stranger's text: see `embedded`


def made(records: Sequence[Record]) -> str:
    """Return when the page was generated, and from how many trials."""
    times = sorted(record.started for record in records if record.started)
    days = list(dict.fromkeys(time[:10] for time in times))
    span = f"measured {' to '.join([days[0], *days[1:][-1:]])}" if days else "undated"
    today = dt.datetime.now(dt.UTC).date().isoformat()
    return f"{len(records)} trials, {span}; page generated {today} by sfbench"


def choices(rows: pd.DataFrame, name: str, label: str) -> dict[str, Any]:
    """Return the boxes of a filter."""
    return {"name": name, "label": label, "choices": sorted(rows[name].unique().tolist())}


def part_of(
    part: pd.DataFrame,
    rows: pd.DataFrame,
    newest: Mapping[str, Record],
    options: Mapping[str, Mapping[str, Any]],
    *,
    machine: bool,
) -> dict[str, Any]:
    """Return a table of those rows whose numbers are comparable."""
    columns = filled(part)
    marked = emphasized(part, columns, rows)
    return {
        "heading": heading(part, machine=machine).replace("\n", ", "),
        "headers": [column.header for column in columns],
        "rows": [
            {
                "model": row["model"],
                "page": page_name(row["model"]),
                "resolution": str(size_of(row)),
                "dtype": row["dtype"],
                "variant": row["variant"],
                "cells": [cell(column, row, index in marked[column.header]) for column in columns],
                "badges": badges(row),
                "remark": remark(row),
                "command": command(row, newest, options.get(row["model"], {})),
            }
            for index, row in part.iterrows()
        ],
    }


def command(row: Any, newest: Mapping[str, Record], defaults: Mapping[str, Any]) -> str:
    """Return the command that reproduces a row."""
    judged = newest.get(row.get("quality_identity"))
    case = joined_case(newest[row["identity"]].case, None if judged is None else judged.case)
    file = plugin_file(newest[row["identity"]])
    given = "" if file is None else f" --plugin {shlex.quote(file)}"
    return request_of(case, defaults).command() + given


def page_name(model: str) -> str:
    """Return the file name of a model's own page: safe whatever a plugin calls its model."""
    name = plain_name(model)
    return f"{name}.html" if name == model else f"{name}-{digest(model)[:8]}.html"


def cell(column: Column, row: Any, best: bool) -> dict[str, Any]:  # noqa: FBT001  # one of three facts
    """Return a value, its interval below, and whether it is clearly the best."""
    text, bounds = with_interval(column, row)
    return {"text": text, "interval": " to ".join(bounds or ()), "best": best}


def badges(row: Any) -> list[dict[str, str]]:
    """Return how the row was measured, one word each; limitations are marked."""
    words = [weights_words(row["weights"]), row["dtype"], row["mode"], f"batch {row['batch']}"]
    words += [f"{row['trials']} trials"] if row["trials"] > 1 else []
    found = [
        {"text": word, "kind": "warn" if word.partition(" ")[0] in WARNED else "plain"}
        for word in words
    ]
    return found + [{"text": flag, "kind": "warn"} for flag in row["flags"].split()]


def remark(row: Any) -> str:
    """Return why the row, or its quality, is missing."""
    if row["status"] != "ok":
        return f"{row['status']}: {row['reason']}"
    reason = row["quality_reason"]
    return f"quality not measured: {reason}" if isinstance(reason, str) else ""


def shown(figure: Figure) -> dict[str, Any]:
    """Return a figure with its table: the same frame."""
    table = figure.frame.drop(columns=["row"], errors="ignore")
    return {
        "title": figure.title,
        "text": figure.text,
        "svg": raw(figure.svg()),
        "headers": list(table.columns),
        "rows": [[plain(value) for value in row] for row in table.itertuples(index=False)],
    }


def plain(value: Any) -> str:
    """Return a value of a figure's table."""
    if isinstance(value, float):
        return number(value, DIGITS)
    return str(value)


def machines(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Return the description of every machine, from its newest record."""
    newest = {record.machine: record for record in records}
    found = []
    for name, record in sorted(newest.items()):
        machine = record.provenance.get("machine", {})
        facts = [(key, value) for key, value in machine.items() if key != "versions"]
        facts += list(machine.get("versions", {}).items())
        found.append(
            {"name": name, "facts": [(k, told(v)) for k, v in facts if v not in (None, [], {})]}
        )
    return found


def told(value: Any) -> str:
    """Return a fact as text."""
    return value if isinstance(value, str) else json.dumps(value)


def differences(records: Sequence[Record]) -> list[str]:
    """Return the versions and environment settings in which the records differ."""
    values: dict[str, set[str]] = {}
    for record in records:
        machine = record.provenance.get("machine", {})
        facts = dict(machine.get("versions", {})) | dict(record.provenance.get("environment", {}))
        for name, value in facts.items():
            values.setdefault(name, set()).add(str(value))
    return [
        f"{name}: {', '.join(sorted(found))}"
        for name, found in sorted(values.items())
        if len(found) > 1
    ]


def embedded(tidy: pd.DataFrame) -> str:
    """Return the numbers as JSON that cannot end the element it stands in, column by column.

    A text column is a list of its distinct values, and an index into it for each row.
    """
    data: dict[str, Any] = {}
    for name in TIDY:
        column = tidy[name]
        if pd.api.types.is_numeric_dtype(column):
            data[name] = [None if pd.isna(value) else value for value in column.tolist()]
        else:
            codes, texts = pd.factorize(column)
            data[name] = {"texts": list(texts), "codes": codes.tolist()}
    text = json.dumps({"columns": list(TIDY), "data": data}, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("&", "\\u0026")
