"""Quality against speed; rows that another one clearly beats are pale."""

from __future__ import annotations

from collections.abc import Iterator

import altair as alt
import pandas as pd

from sfbench.report.comparable import common_distance, groups, is_disturbed
from sfbench.report.figure import HEIGHT, WIDTH, Figure, Look, fitted, measured, with_tips
from sfbench.values.frontier import Point, on_front
from sfbench.values.metric import MEBI
from sfbench.values.metric_names import CORE, DEVICE_ALLOCATED, HOST_ABOVE_LOADED

PEAKS = (DEVICE_ALLOCATED, HOST_ABOVE_LOADED)
FEWEST = 2
"""Fewest points; a single one has nothing to beat."""
MOST = 3
"""Most figures: of the groups with most models."""
MOST_NAMED = 12
"""Points beyond which their names would cover each other."""
PALE = 0.3


def paretos(rows: pd.DataFrame, look: Look) -> Iterator[Figure]:
    """Yield a figure for every set of comparable rows with quality and speed of the same thing."""
    if CORE not in rows:
        return
    good = rows[(rows["status"] == "ok") & rows[CORE].notna()]
    name = common_distance(good)
    if name is None:
        return
    judged = good[good[name].notna()]
    parts = [part for part in groups(judged, quality=True) if len(part) >= FEWEST]
    parts.sort(key=lambda part: (-part["model"].nunique(), -part["resolution"].iloc[0]))
    for part in parts[:MOST]:
        yield pareto(rows, part, name, look)


def pareto(rows: pd.DataFrame, part: pd.DataFrame, name: str, look: Look) -> Figure:
    """Return the figure of one set of comparable rows of all `rows`."""
    columns = {
        name: "distance", f"{name}.low": "low", f"{name}.high": "high",
        CORE: "images/s", f"{CORE}.low": "slow", f"{CORE}.high": "fast",
    }  # fmt: skip
    frame = measured(rows, columns).loc[part.index]
    peaks = [part[peak] for peak in PEAKS if peak in part and part[peak].notna().all()]
    if peaks:
        frame = frame.assign(**{"peak MiB": peaks[0] / MEBI})
    # The speed of a machine that was not quiet neither beats nor is beaten.
    quiet = [not is_disturbed(row) for _, row in part.iterrows()]
    fronts = iter(on_front(points(frame[quiet])))
    frame["beaten"] = [is_quiet and not next(fronts) for is_quiet in quiet]
    frame = with_tips(
        frame,
        [(name_of, unit, low, high) for name_of, unit, low, high in (
            ("distance", name, "low", "high"),
            ("images/s", "images/s", "slow", "fast"),
            ("peak MiB", "MiB", None, None),
        )],
    )  # fmt: skip
    first = part.iloc[0]
    px = frame["px"].iloc[0]
    x = alt.X("images/s:Q", title="images/s (core)", scale=fitted(frame["images/s"]))
    bounds = frame[[one for one in ("distance", "low", "high") if one in frame]]
    y = alt.Y("distance:Q", title=f"{name}, lower is better", scale=fitted(bounds))
    faint = alt.when(alt.datum.beaten).then(alt.value(PALE)).otherwise(alt.value(1.0))
    base = alt.Chart(frame, width=WIDTH, height=HEIGHT).encode(
        color=look.color(frame), opacity=faint
    )
    layers: list[alt.Chart] = []
    if {"low", "high"} <= set(frame):
        layers.append(base.mark_rule(strokeWidth=1.5).encode(x=x, y=alt.Y("low:Q"), y2="high:Q"))
    if {"slow", "fast"} <= set(frame):
        layers.append(base.mark_rule(strokeWidth=1.5).encode(x=alt.X("slow:Q"), x2="fast:Q", y=y))
    layers.append(base.mark_point(filled=True, size=110).encode(x=x, y=y, shape=look.shape(frame)))
    repeated = frame["model"].duplicated(keep=False)
    if len(frame) <= MOST_NAMED and repeated.any():
        frame["apart"] = frame["apart"].where(repeated, "")
        names = base.mark_text(dx=9, dy=-9, align="left", fontSize=11)
        layers.append(names.encode(x=x, y=y, text="apart:N"))
    text = (
        f"Batch {first['batch']}, {first['dtype']} {first['mode']}, {part['quality'].iloc[0]}. Further "
        "right and lower is better; lines are 95 % intervals. A pale row is clearly beaten: another is "
        "better beyond intervals in one, and not worse in the other; disturbed rows are left out."
    )
    return Figure(f"Quality against speed at {px} px", text, frame, alt.layer(*layers))


def points(frame: pd.DataFrame) -> list[Point]:
    """Return the rows as points of a trade-off: seconds per image against distance."""

    def bound(row: pd.Series, name: str, otherwise: float) -> float:
        return float(row[name]) if name in row and pd.notna(row[name]) else otherwise

    return [
        Point(
            value=0.0,
            cost=1 / row["images/s"],
            cost_low=1 / bound(row, "fast", row["images/s"]),
            cost_high=1 / bound(row, "slow", row["images/s"]),
            distance=float(row["distance"]),
            low=bound(row, "low", float("-inf")),
            high=bound(row, "high", float("inf")),
        )
        for _, row in frame.iterrows()
    ]
