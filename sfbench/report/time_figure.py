"""Time of an image over resolution; at a single resolution, beside each other."""

from __future__ import annotations

import altair as alt
import pandas as pd

from sfbench.report.figure import (
    HEIGHT,
    WIDTH,
    Figure,
    Look,
    bars_width,
    fitted,
    is_wide,
    measured,
    place_axis,
    places,
    resolution_axis,
    with_tips,
)
from sfbench.values.metric_names import CORE

MILLI = 1000.0


def time(rows: pd.DataFrame, look: Look) -> Figure | None:
    """Return milliseconds per image of every row that has a throughput; None without any."""
    columns = {CORE: "images/s", f"{CORE}.low": "slow", f"{CORE}.high": "fast"}
    frame = measured(rows, columns)
    if frame.empty:
        return None
    frame = frame.assign(ms=MILLI / frame["images/s"])
    if {"slow", "fast"} <= set(frame):
        frame = frame.assign(low=MILLI / frame["fast"], high=MILLI / frame["slow"])
        frame = frame.drop(columns=["slow", "fast"])
    frame = with_tips(
        frame, [("ms", "ms per image", "low", "high"), ("images/s", "images/s", None, None)]
    )
    if len(set(frame["px"])) == 1:
        return beside(frame, look)
    return over_resolution(frame, look)


def beside(frame: pd.DataFrame, look: Look) -> Figure:
    """Return one row per case, of one resolution."""
    frame = frame.assign(row=places(frame)).sort_values("ms", kind="stable")
    base = alt.Chart(frame, width=bars_width(frame), height=alt.Step(26))
    y = place_axis(frame)
    tone = look.color(frame, legend=False)
    x = alt.X("ms:Q", title="ms per image (core)", scale=fitted(frame["ms"], zero=True))
    marks = base.mark_point(filled=True, size=110, opacity=1)
    layers: list[alt.Chart] = [
        marks.encode(x=x, y=y, color=tone, shape=look.shape(frame, legend=False))
    ]
    if {"low", "high"} <= set(frame):
        rule = base.mark_rule(strokeWidth=2)
        layers.insert(0, rule.encode(x=alt.X("low:Q"), x2="high:Q", y=y, color=tone))
    text = "Seconds of a batch over its images, latents drawn before; lines are 95 % intervals."
    px = frame["px"].iloc[0]
    return Figure(f"Time of an image at {px} px", text, frame, alt.layer(*layers))


def over_resolution(frame: pd.DataFrame, look: Look) -> Figure:
    """Return one curve per label over resolutions."""
    x = resolution_axis(frame)
    bounds = frame[[one for one in ("ms", "low", "high") if one in frame]]
    y = alt.Y("ms:Q", title="ms per image (core)", scale=fitted(bounds, padding=12))
    base = alt.Chart(frame, width=WIDTH, height=HEIGHT)
    tone = look.color(frame)
    line = base.mark_line(strokeWidth=1.5, opacity=0.8).encode(
        x=x, y=y, color=tone, detail="label:N"
    )
    if frame.duplicated(["model", "resolution"]).any():
        dash = alt.StrokeDash(
            "apart:N", title=None, legend=alt.Legend(orient="bottom", columns=3, labelLimit=400)
        )
        line = line.encode(strokeDash=dash)
    layers: list[alt.Chart] = [line]
    if {"low", "high"} <= set(frame):
        layers.append(base.mark_rule().encode(x=x, y=alt.Y("low:Q"), y2="high:Q", color=tone))
    marks = base.mark_point(filled=True, size=80, opacity=1)
    layers.append(marks.encode(x=x, y=y, color=tone, shape=look.shape(frame)))
    scale = "Both axes are" if is_wide(bounds) else "The axis of resolutions is"
    text = (
        f"Seconds of a batch over its images, latents drawn before. {scale} logarithmic; bars are "
        "95 % intervals."
    )
    return Figure("Time of an image over resolution", text, frame, alt.layer(*layers))
