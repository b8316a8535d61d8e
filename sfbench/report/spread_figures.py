"""Distributions behind the numbers: of latency over calls, of throughput over blocks."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import numpy as np
import pandas as pd

from sfbench.report.figure import (
    Figure,
    Look,
    bars_width,
    fitted,
    measured,
    place_axis,
    places,
    with_tips,
)
from sfbench.values.metric_names import CORE, LATENCY_P50
from sfbench.values.records import Reading, Record

QUANTILES = {"p5": 0.05, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p90": 0.9, "p95": 0.95}
FEWEST = 5
"""Fewest values for which a distribution is shown."""


def spread(rows: pd.DataFrame, records: Sequence[Record], metric: str) -> pd.DataFrame:
    """Return quantiles of the values behind a metric, one row per case; all its trials together."""
    values: dict[str, list[float]] = {}
    relative: dict[str, list[float]] = {}
    for record in records:
        for reading in record.readings:
            if reading.metric == metric and len(reading.samples) >= FEWEST:
                values.setdefault(record.identity, []).extend(reading.samples)
                relative.setdefault(record.identity, []).extend(deviations(reading))
    chosen = rows["identity"].isin(values) & (rows["status"] == "ok")
    if not chosen.any():
        return pd.DataFrame()
    # Any column that every row has: what is shown are the values behind it.
    frame = measured(rows, {"identity": "identity"}).loc[chosen[chosen].index]
    frame["row"] = places(frame)
    kept = [np.asarray(values[name]) for name in frame["identity"]]
    frame["values"] = [len(one) for one in kept]
    for name, part in QUANTILES.items():
        frame[name] = [float(np.quantile(one, part)) for one in kept]
    frame["noise"] = [100 * float(np.std(relative[name])) for name in frame["identity"]]
    return frame


def deviations(reading: Reading) -> list[float]:
    """Return how far each value is from the median of its own trial, relative to it."""
    middle = float(np.median(reading.samples))
    return [value / middle - 1 for value in reading.samples]


def latency(rows: pd.DataFrame, records: Sequence[Record], look: Look) -> Figure | None:
    """Return the distribution of the time of a call."""
    frame = spread(rows, records, LATENCY_P50)
    if frame.empty:
        return None
    frame[list(QUANTILES)] *= 1000
    frame = frame.drop(columns="noise")
    frame = with_tips(
        frame, [("p50", "ms per call, median", "p5", "p95"), ("p90", "ms, p90", None, None)]
    )
    scale = fitted(frame[["p5", "p95"]], padding=10)
    base = alt.Chart(frame, width=bars_width(frame), height=alt.Step(24))
    tone = look.color(frame, legend=False)
    y = place_axis(frame)
    x = alt.X("p5:Q", title="ms per call", scale=scale)
    layers = [
        base.mark_rule(strokeWidth=1.5).encode(x=x, x2="p95:Q", y=y, color=tone),
        base.mark_rule(strokeWidth=7, opacity=0.55).encode(x="p25:Q", x2="p75:Q", y=y, color=tone),
        base.mark_point(filled=True, size=45, opacity=1).encode(x="p50:Q", y=y, color=tone),
        base.mark_tick(thickness=2, size=12).encode(x="p90:Q", y=y, color=tone),
    ]
    text = (
        "Calls of one image each, synchronized: the line spans the middle 90 % of calls, the bar the "
        "middle half; the point is the median, the tick the 90th percentile."
    )
    return Figure("Latency of one image (batch 1)", text, frame, alt.layer(*layers))


def noise(rows: pd.DataFrame, records: Sequence[Record], look: Look) -> Figure | None:
    """Return how much the blocks of each case varied, from which the intervals derive."""
    frame = spread(rows, records, CORE)
    if frame.empty:
        return None
    parts = list(QUANTILES)
    middle = frame["p50"].copy()
    for name in parts:
        frame[name] = 100 * (frame[name] / middle - 1)
    flags = rows.loc[frame.index, "flags"]
    frame = frame.drop(columns=["p50", "p90"]).assign(flags=flags)
    frame = with_tips(frame, [("noise", "% standard deviation", None, None)])
    base = alt.Chart(frame, width=bars_width(frame), height=alt.Step(24))
    tone = look.color(frame, legend=False)
    y = place_axis(frame)
    x = alt.X("p5:Q", title="% from the case's median block")
    layers = [
        base.mark_rule(strokeWidth=1.5).encode(x=x, x2="p95:Q", y=y, color=tone),
        base.mark_rule(strokeWidth=7, opacity=0.55).encode(x="p25:Q", x2="p75:Q", y=y, color=tone),
    ]
    text = (
        "Blocks of throughput against the median of their case: the line spans the middle 90 %, the "
        "bar the middle half. In the table, noise is the standard deviation within a trial, in "
        "percent: use sfbench compare --live for differences between models not far above it."
    )
    return Figure("Noise between blocks", text, frame, alt.layer(*layers))
