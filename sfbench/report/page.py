"""The report as one HTML page: no network, no file beside it, readable with and without scripts."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import markupsafe
import pandas as pd

from sfbench.report import frame
from sfbench.report.case_details import anchors_of, commands_by_identity, details
from sfbench.report.figure import Figure, Look
from sfbench.report.figures import figures
from sfbench.report.gallery import gallery
from sfbench.report.glossary import glossary
from sfbench.report.headline import headline, main_part
from sfbench.report.machines import differences, machines, processor_of
from sfbench.report.matrix import matrices, shown_columns
from sfbench.report.measurements import measurements
from sfbench.report.numbers import number
from sfbench.report.pairing import paired
from sfbench.report.scripts import plotting
from sfbench.store.album import Album
from sfbench.store.training_runs import TrainingRun
from sfbench.values.case import COLUMNS
from sfbench.values.messages import counted
from sfbench.values.records import Record
from sfbench.values.sizes import size_of

FILES = Path(__file__).parent / "page_files"
FILTERS = (("model", "Model"), ("px", "Resolution (px)"), ("dtype", "Precision"))
TIDY = (
    *COLUMNS, "weights",
    "options", "quality", "machine", "origin", "trial", "metric", "value", "low", "high", "unit",
    "reason",
)  # fmt: skip
DIGITS = 4
MOST_RECORDS = 300
"""Most records of a page: keeps it under 5 MB, pictures and the plotting library included."""
LEADING = 2
"""Figures of the first screen."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What a page shows beside its records: pictures, training logs, and notes.

    `options`: the default options of each model, for the commands.
    """

    options: Mapping[str, Mapping[str, Any]]
    albums: Sequence[Album] = ()
    runs: Sequence[TrainingRun] = ()
    notes: Sequence[str] = ()


def page(records: Sequence[Record], beside: Beside, title: str, *, live: bool = False) -> str:
    """Return the page.

    Every figure is drawn from the frame that is shown below it as a table, and every table from the
    summary of `records`. `live`: it asks its server whether there is a newer one.
    """
    there = len(records)
    whole = measurements(records)
    recent = frame.most_recent(whole.heads, MOST_RECORDS)
    records, found = [records[place] for place in recent], whole.of(recent)
    rows = paired(frame.summary(found))
    newest = {record.identity: record for record in records}
    look, anchors = Look.of(rows), anchors_of(rows)
    drawn = [shown(figure) for figure in figures(rows, records, beside.runs)]
    cases = details(rows, newest, beside.options, anchors)
    tables = list(matrices(rows, look, anchors))
    return rendered(
        "page.html.j2",
        title=title,
        headline=headline(rows, processor(rows, newest), beside.options),
        made=made(records),
        live=live,
        filters=[one for name, label in FILTERS if (one := choices(rows, name, label))["several"]],
        count=len(rows),
        tables=tables,
        more=any(table["more"] for table in tables),
        leading=drawn[:LEADING],
        figures=drawn[LEADING:],
        gallery=gallery(in_order(beside.albums, look), beside.options),
        looks={model: look.tint(model) for model in look.models},
        cases=cases,
        glossary=glossary(shown_columns(rows), badges_of(tables), rows),
        notes=[*beside.notes, *left_out(there - len(records))],
        machines=machines(records),
        differences=differences(records),
        data=raw(embedded(frame.tidy(found))),
        figure_data=raw(
            as_json(figure_data(drawn, commands_by_identity(rows, newest, beside.options)))
        ),
        **scripts(),
    )


def in_order(albums: Sequence[Album], look: Look) -> list[Album]:
    """Return albums in the order of the page's models, small images first."""
    return sorted(
        albums, key=lambda one: (look.place(one.subject["model"]), one.subject["resolution"])
    )


def scripts() -> dict[str, Any]:
    """Return the script of pages, and the plotting library that it starts once the page is painted."""
    return {
        "script": raw((FILES / "page.js").read_text(encoding="utf-8")),
        "plotting": raw(plotting()),
    }


def processor(rows: pd.DataFrame, newest: Mapping[str, Record]) -> str:
    """Return the processor of the machine that the headline is about."""
    good = rows[rows["status"] == "ok"]
    if good.empty:
        return ""
    return processor_of(newest[main_part(good)["identity"].iloc[0]])


def badges_of(tables: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the badges of all rows, each once."""
    found = (badge["text"] for table in tables for row in table["rows"] for badge in row["badges"])
    return list(dict.fromkeys(found))


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
    return f"{counted(len(records), 'trial')}, {span}; page generated {today} by sfbench"


def choices(rows: pd.DataFrame, name: str, label: str) -> dict[str, Any]:
    """Return the boxes of a filter."""
    if name == "px":
        values = [str(size) for size in sorted({size_of(row) for _, row in rows.iterrows()})]
    else:
        values = sorted(map(str, rows[name].unique()))
    return {"name": name, "label": label, "choices": values, "several": len(values) > 1}


def shown(figure: Figure) -> dict[str, Any]:
    """Return a figure with its table: the same frame."""
    table = figure.table()
    return {
        "title": figure.title,
        "text": figure.text,
        "svg": raw(figure.svg()),
        "spec": figure.spec(),
        "headers": list(table.columns),
        "rows": [[plain(value) for value in row] for row in table.itertuples(index=False)],
    }


def figure_data(drawn: Sequence[Mapping[str, Any]], commands: Mapping[str, str]) -> dict[str, Any]:
    """Return what the script draws: the specifications, in order, and the command of each row."""
    return {"specs": [one["spec"] for one in drawn], "commands": commands}


def plain(value: Any) -> str:
    """Return a value of a figure's table."""
    if isinstance(value, float):
        return number(value, DIGITS)
    return str(value)


def embedded(tidy: pd.DataFrame) -> str:
    """Return the numbers as JSON, column by column.

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
    return as_json({"columns": list(TIDY), "data": data})


def as_json(value: Any) -> str:
    """Return JSON that cannot end the element it stands in."""
    text = json.dumps(value, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("&", "\\u0026")
