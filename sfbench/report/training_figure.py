"""Training curves: distance over images seen, for runs with a log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd

from sfbench.report.best_snapshot import PREFIX, best_snapshot
from sfbench.report.figure import HEIGHT, WIDTH, Figure, Look, fitted
from sfbench.store.training_runs import TrainingRun
from sfbench.values.metrics import is_distance

LOSS = "G/loss"
"""Drawn if no run logged a distance: it shows that a run is alive, not how good it is."""
COLUMNS = ("step", "kimg", "minutes", "metric", "value")


def curve(run: TrainingRun) -> pd.DataFrame:
    """Return one row per log line with a distance or a loss: its position, and the value.

    `kimg` is empty where a log counts steps alone; `minutes` are those of training so far.
    """
    rows: list[tuple[Any, ...]] = []
    seconds, before = 0.0, 0.0
    for line in run.lines:
        kimg = line.get("kimg")
        if kimg is not None and line.get("seconds_per_kimg") is not None:
            seconds += line["seconds_per_kimg"] * (kimg - before)
            before = kimg
        for name, value in line.items():
            metric = name.removeprefix(PREFIX)
            if (metric == LOSS or is_distance(metric)) and isinstance(value, int | float):
                rows.append((line["step"], kimg, seconds / 60, metric, float(value)))
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    return frame.assign(kimg=frame["kimg"].astype(float), run=run.name)


def named(run: TrainingRun) -> str:
    """Return what a run is called in a legend."""
    asked: Any = run.asked
    if not asked:
        return run.name
    return f"{asked.get('model')} {asked.get('resolution')} px ({run.name})"


def model_of(run: TrainingRun) -> str:
    """Return the model that a run trains; its name where a log does not say."""
    asked: Any = run.asked
    return str(asked.get("model") or run.name) if asked else run.name


def numbered(names: Sequence[str]) -> list[str]:
    """Return the names; repeated ones get a number from the second on."""
    return [
        name if names.index(name) == place else f"{name} #{names[: place + 1].count(name)}"
        for place, name in enumerate(names)
    ]


def training(runs: Sequence[TrainingRun], look: Look) -> Figure | None:
    """Return the curves of the distance that most runs logged, else of the loss; None without any."""
    labels = numbered([named(run) for run in runs])
    curves = [
        curve(run).assign(label=label, model=model_of(run))
        for run, label in zip(runs, labels, strict=True)
    ]
    kept = [one for one in curves if not one.empty]
    if not kept:
        return None
    whole = pd.concat(kept)
    counts = whole.groupby("metric")["label"].nunique().sort_values(kind="stable")
    distances = [name for name in counts.index if is_distance(name)]
    metric = distances[-1] if distances else LOSS
    frame = whole[whole["metric"] == metric].reset_index(drop=True)
    by_images = bool(frame["kimg"].notna().all())
    x = alt.X("kimg:Q", title="images seen (thousands)") if by_images else alt.X("step:Q")
    scale = fitted(frame["value"], padding=12) if metric != LOSS else alt.Scale(zero=False)
    at = (
        frame["kimg"].map("{:.4g} kimg".format)
        if by_images
        else frame["step"].map("step {}".format)
    )
    told_value = frame["value"].map(f"{metric} {{:.4g}}".format)
    frame = frame.assign(tip=frame["label"] + ", " + at + "\n" + told_value)
    several = frame.groupby("model")["label"].nunique().gt(1).any()
    names = {"color": look.color(frame), "shape": look.shape(frame)}
    if several:
        legend = alt.Legend(orient="bottom", columns=1, labelLimit=500)
        names["strokeDash"] = alt.StrokeDash("label:N", title=None, legend=legend)
    chart = (
        alt.Chart(frame, width=WIDTH, height=HEIGHT)
        .mark_line(point={"size": 40}, strokeWidth=1.5)
        .encode(
            x=x,
            y=alt.Y("value:Q", title=str(metric), scale=scale),
            detail="label:N",
            **names,
        )
    )
    caption = told(metric, sorted(set(whole["metric"]) - {metric, LOSS}))
    for run, label in zip(runs, labels, strict=True):
        best = best_snapshot(run)
        if best is not None and best.metric == metric:
            caption += f" {label}: {best.told()}."
    return Figure("Training", caption, frame, chart)


def told(metric: str, left: Sequence[str]) -> str:
    """Return the caption: what is drawn, and what is not."""
    if metric == LOSS:
        return (
            "The generator's loss: no run logged a distance (use sfbench train --metrics). A GAN's "
            "loss does not track image quality."
        )
    text = (
        f"{metric} of snapshots during training; minutes in the table count training only, not "
        "pictures and evaluation."
    )
    if left:
        text += f" Not drawn, because fewer runs logged them: {', '.join(left)}."
    return text
