"""What a knob buys: quality over its values, over time and over memory, one curve per model."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import altair as alt
import pandas as pd

from sfbench.report.comparable import ALIKE, BASIS, common_distance
from sfbench.report.figure import Figure, Look, fitted, labeled_without, significant
from sfbench.report.pareto_figure import PALE
from sfbench.values.frontier import Point, cost_alike, on_front
from sfbench.values.metric import MEBI
from sfbench.values.metric_names import CORE, DEVICE_ALLOCATED, HOST_PEAK
from sfbench.values.sizes import HasGet
from sfbench.values.sweeps import number

SAME = ["model", *ALIKE, BASIS]
"""What rows of one curve share."""
PEAKS = (DEVICE_ALLOCATED, HOST_PEAK)
FEWEST = 2
"""Values of a knob below which there is no curve."""
COSTS = (
    ("ms", "milliseconds per image (core)", "beaten in time"),
    ("MiB", "peak memory, MiB", "beaten in memory"),
)
"""Columns of what a point costs, their titles, and the columns of whether another point beats it."""
PANEL_WIDTH, PANEL_HEIGHT = 560, 220
MILLI = 1000.0


@dataclasses.dataclass(frozen=True, slots=True)
class Curve:
    """Rows of one model that differ in one option, its knob, and in nothing else."""

    label: str
    knob: str
    metric: str
    rows: pd.DataFrame

    def frame(self) -> pd.DataFrame:
        """Return one row per value of the knob, in its order: distance, time and memory."""
        rows = self.rows
        found = pd.DataFrame(
            {
                "label": self.label,
                "model": str(rows.iloc[0]["model"]),
                "identity": list(rows["identity"]),
                "alike": " ".join(str(rows.iloc[0].get(name)) for name in (*ALIKE, BASIS)),
                "knob": self.knob,
                "value": [settings_of(row)[self.knob] for _, row in rows.iterrows()],
                "distance": rows[self.metric],
                "low": rows.get(f"{self.metric}.low"),
                "high": rows.get(f"{self.metric}.high"),
                "ms": MILLI / rows[CORE] if CORE in rows else None,
            }
        )
        if {f"{CORE}.low", f"{CORE}.high"} <= set(rows):
            found["ms low"] = MILLI / rows[f"{CORE}.high"]
            found["ms high"] = MILLI / rows[f"{CORE}.low"]
        for peak in PEAKS:
            if peak in rows and rows[peak].notna().all():
                found["MiB"] = rows[peak] / MEBI
                break
        order = found["value"].map(number)
        found["place"] = order if order.notna().all() else range(len(found))
        return found.sort_values("place", kind="stable").reset_index(drop=True)


def points(frame: pd.DataFrame, cost: str) -> list[Point]:
    """Return the points of a curve's frame.

    A cost without an interval is taken as exact; a distance without one may be anything.
    """

    def bound(row: pd.Series, name: str, otherwise: float) -> float:
        there = name in row and pd.notna(row[name])
        return float(row[name]) if there else otherwise

    return [
        Point(
            value=float(row["place"]),
            cost=float(row[cost]),
            cost_low=bound(row, f"{cost} low", float(row[cost])),
            cost_high=bound(row, f"{cost} high", float(row[cost])),
            distance=float(row["distance"]),
            low=bound(row, "low", -math.inf),
            high=bound(row, "high", math.inf),
        )
        for _, row in frame.iterrows()
    ]


def settings_of(row: HasGet) -> dict[str, str]:
    """Return the settings in which a row differs from others of its model."""
    pairs = (text.partition("=") for text in str(row.get("variant")).split("; ") if text)
    return {name: value for name, _, value in pairs}


def curves(rows: pd.DataFrame) -> Iterator[Curve]:
    """Yield the curves of these rows: of each model, those that differ in one setting alone.

    Where several settings differ, the knob is the number with the most values, and the others tell
    curves apart.
    """
    good = rows[rows["status"] == "ok"] if len(rows) else rows
    metric = common_distance(good) if len(good) else None
    if metric is None:
        return
    judged = good[good[metric].notna()]
    for _, part in judged.groupby(SAME, sort=False, dropna=False):
        settings = [settings_of(row) for _, row in part.iterrows()]
        knob = knob_of(settings)
        if knob is None:
            continue
        others = ["; ".join(f"{k}={v}" for k, v in one.items() if k != knob) for one in settings]
        for rest in dict.fromkeys(others):
            chosen = part[[one == rest for one in others]]
            chosen = chosen[[knob in settings_of(row) for _, row in chosen.iterrows()]]
            if len({settings_of(row)[knob] for _, row in chosen.iterrows()}) < FEWEST:
                continue
            label = labeled_without(good, chosen, rest)
            newest = chosen.sort_values("started", kind="stable")
            values = [settings_of(row)[knob] for _, row in newest.iterrows()]
            kept = newest[~pd.Series(values, index=newest.index).duplicated(keep="last")]
            yield Curve(label, knob, metric, kept)


def knob_of(settings: list[dict[str, str]]) -> str | None:
    """Return the setting that is a knob: a number with the most values, or else a word."""
    values: dict[str, set[str]] = {}
    for one in settings:
        for name, value in one.items():
            values.setdefault(name, set()).add(value)
    several = {name: found for name, found in values.items() if len(found) >= FEWEST}

    def rank(name: str) -> tuple[bool, int]:
        numbers = all(number(value) is not None for value in several[name])
        return numbers, len(several[name])

    return max(several, key=rank, default=None)


def frontier(rows: pd.DataFrame, look: Look) -> Figure | None:
    """Return quality over the knob's value, over time and over memory; None without a knob."""
    found = list(curves(rows))
    if not found:
        return None
    frame = pd.concat([curve.frame() for curve in found], ignore_index=True)
    for cost, _, front in COSTS:
        if cost in frame and frame[cost].notna().all():
            frame[front] = False
            for _, part in frame.groupby("alike"):
                frame.loc[part.index, front] = [not on for on in on_front(points(part, cost))]
    metric, knobs = found[0].metric, sorted({curve.knob for curve in found})
    frame["tip"] = [
        f"{row['label']}, {row['knob']}={row['value']}\n{metric} {significant(row['distance'])}"
        + "".join(f"\n{significant(row[cost])} {unit}" for cost, unit, _ in COSTS if cost in row)
        for _, row in frame.iterrows()
    ]
    numbers = frame["value"].map(number).notna().all()
    panels = [panel(frame, metric, "place" if numbers else "value", " / ".join(knobs), None, look)]
    alike = []
    for cost, title, front in COSTS:
        if front not in frame:
            continue
        if cost_alike(points(frame, cost)):
            low, high = frame[cost].min(), frame[cost].max()
            alike.append(f"No clear difference in {title}: {low:.4g} to {high:.4g}.")
        else:
            panels.append(panel(frame, metric, cost, title, front, look))
    text = (
        f"What {', '.join(knobs)} buys: lower is better, and further left is cheaper; vertical lines "
        "are 95 % intervals of quality, horizontal ones of time. The number at a point is the knob's "
        "value. Pale points are clearly beaten: another one is better beyond intervals "
        "in one and not worse in the other."
    )
    text = " ".join([text, *alike])
    chart = alt.vconcat(*panels).resolve_scale(color="shared", shape="shared", strokeDash="shared")
    return Figure(f"Quality against {', '.join(knobs)}", text, frame, chart)


def dashes(frame: pd.DataFrame) -> dict[str, alt.StrokeDash]:
    """Return a stroke for each curve, where a model has several."""
    if frame.groupby("model")["label"].nunique().max() == 1:
        return {}
    legend = alt.Legend(orient="bottom", columns=1, labelLimit=500)
    return {"strokeDash": alt.StrokeDash("label:N", title=None, legend=legend)}


def panel(  # a panel is what differs between panels
    frame: pd.DataFrame, metric: str, across: str, title: str, front: str | None, look: Look
) -> alt.LayerChart | alt.FacetChart:
    """Return one panel: a line per curve in the order of its knob, points, intervals, values."""
    base = alt.Chart(frame, width=PANEL_WIDTH, height=PANEL_HEIGHT)
    if across == "value":
        x: alt.X = alt.X("value:N", title=title, sort=list(dict.fromkeys(frame["value"])))
    else:
        x = alt.X(f"{across}:Q", title=title, scale=fitted(frame[across]))
    y = alt.Y(
        "distance:Q", title=metric, scale=fitted(frame[["distance", "low", "high"]], padding=12)
    )
    tint = look.color(frame)
    opacity: Any = alt.value(1.0)
    if front is not None:
        opacity = alt.when(alt.datum[front]).then(alt.value(PALE)).otherwise(alt.value(1.0))
    line = base.mark_line(opacity=0.5, strokeWidth=1.5).encode(
        x=x, y=y, color=tint, order="place:Q", detail="label:N", **dashes(frame)
    )
    base = base.encode(opacity=opacity)
    marks = base.mark_point(filled=True, size=70).encode(
        x=x, y=y, color=tint, shape=look.shape(frame)
    )
    layers = [line]
    if frame["low"].notna().any():
        layers.append(base.mark_rule().encode(x=x, y=alt.Y("low:Q"), y2="high:Q", color=tint))
    if across == "ms" and "ms low" in frame and frame["ms low"].notna().any():
        layers.append(base.mark_rule().encode(x=alt.X("ms low:Q"), x2="ms high:Q", y=y, color=tint))
    layers.append(marks)
    if front is not None:
        names = base.mark_text(dx=8, dy=-8, align="left", fontSize=11)
        layers.append(names.encode(x=x, y=y, text="value:N", color=tint))
    return alt.layer(*layers)
