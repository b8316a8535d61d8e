"""A leaderboard as static files: index, one page per model with history, report, numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from sfbench.report import frame, history
from sfbench.report.case_details import anchors_of, commands_by_identity, details
from sfbench.report.figure import Look
from sfbench.report.figures import figures
from sfbench.report.gallery import gallery
from sfbench.report.glossary import glossary
from sfbench.report.headline import headline
from sfbench.report.machines import machines
from sfbench.report.matrix import matrices, page_name, shown_columns
from sfbench.report.measurements import measurements
from sfbench.report.page import (
    LEADING,
    Beside,
    as_json,
    badges_of,
    figure_data,
    in_order,
    made,
    page,
    processor,
    raw,
    rendered,
    scripts,
    shown,
)
from sfbench.report.pairing import paired
from sfbench.store.album import Album
from sfbench.values.metric_names import CORE
from sfbench.values.records import Record
from sfbench.values.sizes import size_of

MOST_HISTORIES = 40
"""Figures of history on one page; steps come first."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What is known of a model: a short summary, and facts by name."""

    summary: str = "not installed here"
    facts: Mapping[str, str] = dataclasses.field(default_factory=dict)


def site(
    records: Sequence[Record], beside: Beside, about: Mapping[str, About], title: str
) -> Iterator[tuple[str, str]]:
    """Yield every file of the site: its path from the site's folder, and its text.

    `records` are all records, older ones included: tables show the newest of each case, the
    history shows all.
    """
    newest, older = frame.current(records)
    found = measurements(newest)
    rows = paired(frame.summary(found))
    look = Look.of(rows)
    models = []
    for name in sorted(set(rows["model"])):
        mine = [record for record in records if record.case["model"] == name]
        series = sorted(history.histories(mine), key=lambda one: not one.steps)
        part = rows[rows["model"] == name].reset_index(drop=True)
        known = about.get(name, About())
        kept = [record for record in newest if record.case["model"] == name]
        yield f"models/{page_name(name)}", model_page(name, part, kept, series, known, beside, look)
        models.append(
            {
                "name": name,
                "page": page_name(name),
                "tint": look.tint(name),
                "summary": known.summary,
                "cases": len(part),
                "resolutions": ", ".join(
                    map(str, sorted({size_of(row) for _, row in part.iterrows()}))
                ),
                "newest": part["started"].max()[:10],
                "steps": sum(len(one.steps) for one in series),
            }
        )
    yield "index.html", index_page(rows, newest, older, beside, title, models, look)
    yield "report.html", page(newest, beside, title)
    yield "records.csv", frame.as_csv(frame.tidy(measurements(records)))


def index_page(  # what the pages share
    rows: pd.DataFrame,
    newest: Sequence[Record],
    older: int,
    beside: Beside,
    title: str,
    models: Sequence[Mapping[str, Any]],
    look: Look,
) -> str:
    """Return the first page: the verdicts, the models, and the leaderboard, fastest first."""
    ranked = rows.sort_values(["resolution", "batch"], kind="stable")
    if CORE in rows:
        by = ["resolution", "batch", CORE]
        ranked = rows.sort_values(by, ascending=[True, True, False], kind="stable")
    of = {record.identity: record for record in newest}
    drawn = [shown(figure) for figure in figures(rows, newest)][:LEADING]
    tables = list(matrices(ranked, look, {}))
    commands = commands_by_identity(rows, of, beside.options)
    return rendered(
        "index.html.j2",
        title=title,
        headline=headline(rows, processor(rows, of), beside.options),
        made=made(newest),
        notes=[f"{older} older records are shown only in the histories."] if older else [],
        models=models,
        looks={model: look.tint(model) for model in look.models},
        gallery=gallery(in_order(beside.albums, look), beside.options),
        leading=drawn,
        tables=tables,
        more=any(table["more"] for table in tables),
        count=len(rows),
        glossary=glossary(shown_columns(rows), badges_of(tables), rows),
        machines=machines(newest),
        figure_data=raw(as_json(figure_data(drawn, commands))),
        **scripts(),
    )


def model_page(  # what the pages share
    name: str,
    rows: pd.DataFrame,
    records: Sequence[Record],
    series: Sequence[history.Series],
    about: About,
    beside: Beside,
    look: Look,
) -> str:
    """Return a model's page; `rows` are its newest cases, `records` those they summarize."""
    newest = {record.identity: record for record in records}
    left_out = len(series) - MOST_HISTORIES
    anchors = anchors_of(rows)
    drawn = [shown(figure) for figure in figures(rows, records)]
    past = [shown(history.drawn(one)) for one in series[:MOST_HISTORIES]]
    cases = details(rows, newest, beside.options, anchors)
    commands = commands_by_identity(rows, newest, beside.options)
    tables = list(matrices(rows, look, anchors))
    return rendered(
        "model.html.j2",
        model=name,
        summary=about.summary,
        about=list(about.facts.items()),
        made=made(records),
        tables=tables,
        more=any(table["more"] for table in tables),
        count=len(rows),
        cases=cases,
        looks={model: look.tint(model) for model in look.models},
        gallery=gallery(of_model(beside.albums, name), beside.options),
        figures=drawn,
        history=past,
        left_out=f"{left_out} more histories, none with a step, are not shown."
        if left_out > 0
        else "",
        figure_data=raw(as_json(figure_data([*drawn, *past], commands))),
        **scripts(),
    )


def of_model(albums: Sequence[Album], name: str) -> list[Album]:
    """Return the albums of a model."""
    return [album for album in albums if album.subject["model"] == name]
