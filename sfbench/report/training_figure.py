"""Training curves: distance over images seen, of runs whose log is at hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd

from sfbench.records import is_distance
from sfbench.report.figure import HEIGHT, WIDTH, Figure, colour, shape
from sfbench.trained import TrainingRun

PREFIX = "quality/"


def curve(run: TrainingRun) -> pd.DataFrame:
    """Return a row a line of the log that has a distance: kimg, minutes of training so far, value."""
    rows, seconds, before = [], 0.0, 0.0
    for line in run.lines:
        kimg = float(line.get("kimg", line["step"]))
        if line.get("seconds_per_kimg") is not None:
            seconds += line["seconds_per_kimg"] * (kimg - before)
            before = kimg
        for name, value in line.items():
            metric = name.removeprefix(PREFIX)
            if is_distance(metric) and isinstance(value, int | float):
                rows.append(
                    {"kimg": kimg, "minutes": seconds / 60, "metric": metric, "value": value}
                )
    frame = pd.DataFrame(rows, columns=["kimg", "minutes", "metric", "value"])
    return frame.assign(run=run.name, label=named(run))


def named(run: TrainingRun) -> str:
    """Return what a run is called in a legend."""
    asked: Any = run.asked
    if not asked:
        return run.name
    return f"{asked.get('model')} {asked.get('resolution')} px ({run.name})"


def training(runs: Sequence[TrainingRun]) -> Figure | None:
    """Return the curves of the distance that most runs logged; None where none did."""
    curves = [curve(run) for run in runs]
    whole = pd.concat(curves) if curves else pd.DataFrame()
    if whole.empty:
        return None
    metric = whole.groupby("metric")["run"].nunique().sort_values().index[-1]
    frame = whole[whole["metric"] == metric].reset_index(drop=True)
    chart = (
        alt.Chart(frame, width=WIDTH, height=HEIGHT)
        .mark_line(point={"size": 40}, strokeWidth=1.5)
        .encode(
            x=alt.X("kimg:Q", title="images seen (thousand)"),
            y=alt.Y("value:Q", title=str(metric), scale=alt.Scale(type="log", zero=False)),
            color=colour(frame),
            shape=shape(frame),
        )
    )
    left = sorted(set(whole["metric"]) - {metric})
    text = (
        f"{metric} of snapshots during training; `minutes` are those of training alone, without "
        "pictures and quality."
    )
    if left:
        text += f" Not drawn, because fewer runs logged them: {', '.join(left)}."
    return Figure("Training", text, frame, chart)
