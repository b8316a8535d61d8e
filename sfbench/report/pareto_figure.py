"""Quality against speed against memory; rows beaten in all of them are gray."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import numpy as np
import pandas as pd

from sfbench.report.best import common_distance
from sfbench.report.figure import HEIGHT, WIDTH, Figure, color, measured, shape
from sfbench.values.metric_names import CORE, DEVICE_ALLOCATED, HOST_PEAK
from sfbench.values.metrics import MEBI

ALIKE = ["quality", "machine", "device"]
PEAKS = (DEVICE_ALLOCATED, HOST_PEAK)
FEWEST = 2
"""Fewest points; a single one has nothing to beat."""
GRAY = "#9a9a9a"
LOGARITHMIC = alt.Scale(type="log", nice=False, padding=30)


def pareto(rows: pd.DataFrame) -> Figure | None:
    """Return the rows that hold quality and speed of the same thing (see `pairing`).

    Only rows of one quality basis on one machine: the most frequent combination.
    """
    if CORE not in rows:
        return None
    name = common_distance(rows[rows[CORE].notna()])
    if name is None:
        return None
    bounds = {f"{name}.low": "low", f"{name}.high": "high"}
    frame = measured(rows, {name: "distance", **bounds, CORE: "images/s"})
    if frame.empty or "images/s" not in frame:
        return None
    frame = frame[frame["images/s"].notna()]
    if frame.empty:
        return None
    alike = rows.loc[frame.index, ALIKE].agg("\0".join, axis=1)
    frame = frame[alike == alike.mode().iloc[0]]
    if len(frame) < FEWEST:
        return None
    peaks = [rows.loc[frame.index, peak] for peak in PEAKS if peak in rows]
    whole = next((peak for peak in peaks if peak.notna().all()), None)
    aims = [frame["distance"], -frame["images/s"]]
    if whole is not None:
        frame = frame.assign(**{"peak MiB": whole / MEBI})
        aims.append(frame["peak MiB"])
    frame = frame.assign(dominated=dominated(aims))
    if "low" in frame:
        # A logarithmic axis cannot show a bound at zero.
        frame[["low", "high"]] = frame[["low", "high"]].where(frame["low"] > 0)
    gray = alt.when(alt.datum.dominated).then(alt.value(GRAY)).otherwise(color(frame))
    base = alt.Chart(frame, width=WIDTH, height=HEIGHT)
    x = alt.X("images/s:Q", scale=LOGARITHMIC)
    y = alt.Y("distance:Q", title=name, scale=LOGARITHMIC)
    points = base.mark_point(filled=True, opacity=0.85).encode(
        x=x, y=y, color=gray, shape=shape(frame), **size(whole is not None)
    )
    layers: list[alt.Chart] = [points]
    if set(bounds.values()) <= set(frame.columns):
        layers.append(base.mark_rule().encode(x=x, y=alt.Y("low:Q"), y2="high:Q", color=gray))
    beats = "quality, speed and memory" if whole is not None else "both"
    text = (
        f"Lower, further right{' and smaller' if whole is not None else ''} is better; lines are 95 % "
        "intervals of quality; gray points are equaled or "
        f"beaten by another row in {beats}. Quality and speed are paired only where weights, "
        "precision and mode are the same."
    )
    return Figure("Quality against speed and memory", text, frame, alt.layer(*layers))


def size(known: bool) -> dict[str, alt.Size]:  # noqa: FBT001  # one fact
    """Return memory as the size of a point, if it is known for all."""
    if not known:
        return {}
    scale = alt.Scale(type="sqrt", range=[40, 400])
    return {"size": alt.Size("peak MiB:Q", scale=scale, legend=alt.Legend(orient="right"))}


def dominated(aims: Sequence[pd.Series]) -> list[bool]:
    """Return which rows another equals or beats in every aim, and beats in one; less is better."""
    values = np.stack([np.asarray(aim, dtype=float) for aim in aims], axis=1)
    return [
        bool(((values <= one).all(axis=1) & (values < one).any(axis=1)).any()) for one in values
    ]
