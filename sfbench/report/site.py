"""A leaderboard as static files: index, one page per model with history, report, numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from sfbench.report import frame, history
from sfbench.report.figures import figures
from sfbench.report.gallery import gallery
from sfbench.report.headline import headline
from sfbench.report.measurements import measurements
from sfbench.report.page import Beside, machines, made, page, page_name, part_of, rendered, shown
from sfbench.report.pairing import paired
from sfbench.report.table import same_basis
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
    models = []
    for name in sorted(set(rows["model"])):
        mine = [record for record in records if record.case["model"] == name]
        series = sorted(history.histories(mine), key=lambda one: not one.steps)
        part = rows[rows["model"] == name].reset_index(drop=True)
        known = about.get(name, About())
        kept = [record for record in newest if record.case["model"] == name]
        text = model_page(name, part, kept, series, known, beside)
        yield f"models/{page_name(name)}", text
        models.append(
            {
                "name": name,
                "page": page_name(name),
                "summary": known.summary,
                "cases": len(part),
                "resolutions": ", ".join(
                    map(str, sorted({size_of(row) for _, row in part.iterrows()}))
                ),
                "newest": part["started"].max()[:10],
                "steps": sum(len(one.steps) for one in series),
            }
        )
    ranked = rows.sort_values(["resolution", "batch"], kind="stable")
    if CORE in rows:
        by = ["resolution", "batch", CORE]
        ranked = rows.sort_values(by, ascending=[True, True, False], kind="stable")
    newest_of = {record.identity: record for record in newest}
    several = len(set(rows["machine"])) > 1
    yield (
        "index.html",
        rendered(
            "index.html.j2",
            title=title,
            verdict=headline(rows),
            made=made(newest),
            notes=[f"{older} older records are shown only in the histories."] if older else [],
            models=models,
            results=[
                part_of(part, ranked, newest_of, beside.options, machine=several)
                for part in same_basis(ranked)
            ],
            machines=machines(newest),
        ),
    )
    yield "report.html", page(newest, beside, title)
    yield "records.csv", frame.as_csv(frame.tidy(measurements(records)))


def model_page(
    name: str,
    rows: pd.DataFrame,
    records: Sequence[Record],
    series: Sequence[history.Series],
    about: About,
    beside: Beside,
) -> str:
    """Return a model's page; `rows` are its newest cases, `records` those they summarize."""
    newest = {record.identity: record for record in records}
    left_out = len(series) - MOST_HISTORIES
    values: dict[str, Any] = {
        "model": name,
        "summary": about.summary,
        "about": list(about.facts.items()),
        "made": made(records),
        "results": [
            part_of(part, rows, newest, beside.options, machine=len(set(rows["machine"])) > 1)
            for part in same_basis(rows)
        ],
        "gallery": gallery(of_model(beside.albums, name), beside.options),
        "figures": [shown(figure) for figure in figures(rows, records)],
        "history": [shown(history.drawn(one)) for one in series[:MOST_HISTORIES]],
        "left_out": f"{left_out} more histories, none with a step, are not shown."
        if left_out > 0
        else "",
    }
    return rendered("model.html.j2", **values)


def of_model(albums: Sequence[Album], name: str) -> list[Album]:
    """Return the albums of a model."""
    return [album for album in albums if album.subject["model"] == name]
