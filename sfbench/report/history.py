"""What one case measured over time and commits, on one machine, with the steps in it."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from sfbench.report.figure import OKABE_ITO, WIDTH, Figure
from sfbench.report.frame import variants
from sfbench.report.measurements import measurements
from sfbench.report.numbers import number
from sfbench.report.steps import FEWEST, Step, steps
from sfbench.values.case import weights_words
from sfbench.values.metric import MEBI
from sfbench.values.metric_names import CORE, DEVICE_ALLOCATED, HOST_ABOVE_LOADED
from sfbench.values.metrics import is_distance
from sfbench.values.records import Record
from sfbench.values.sizes import size_of

WATCHED = {
    CORE: ("images/s", 1.0),
    HOST_ABOVE_LOADED: ("MiB above the loaded model", 1 / MEBI),
    DEVICE_ALLOCATED: ("MiB peak on the GPU", 1 / MEBI),
}
EXACT_MARGIN = 0.005
"""Memory and quality of equal code hardly vary: smaller changes are reported."""
HEIGHT = 180


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One metric of one case on one machine: values by trial, oldest first."""

    title: str
    metric: str
    unit: str
    frame: pd.DataFrame
    steps: Sequence[Step]


def histories(records: Sequence[Record]) -> Iterator[Series]:
    """Yield the series of everything that was measured more than once."""
    heads = measurements(records).heads
    names = pd.Index(heads["identity"].unique())
    differ = dict(zip(names, variants(heads, names), strict=True))
    cases: dict[tuple[str, str], list[Record]] = {}
    for record in sorted(records, key=lambda one: one.started):
        if record.status == "ok":
            cases.setdefault((record.case_key, record.machine), []).append(record)
    for found in cases.values():
        for metric in metrics_of(found):
            frame = points(found, metric)
            if len(frame) < 2:  # noqa: PLR2004  # one point is no history
                continue
            exact = metric != CORE
            positive = bool((frame["value"] > 0).all())
            margin = {"margin": EXACT_MARGIN} if exact else {}
            yield Series(
                title=title_of(found[-1], differ[found[-1].identity]),
                metric=metric,
                unit=WATCHED.get(metric, (metric, 1.0))[0],
                frame=frame,
                steps=steps(frame["value"].tolist(), **margin) if positive else [],
            )


def metrics_of(records: Sequence[Record]) -> list[str]:
    """Return the metrics whose history is shown: speed, memory, distances."""
    names = {reading.metric: None for record in records for reading in record.readings}
    return [name for name in names if name in WATCHED or is_distance(name)]


def points(records: Sequence[Record], metric: str) -> pd.DataFrame:
    """Return one row per trial: its number, when, which code, value and bounds."""
    factor = WATCHED.get(metric, ("", 1.0))[1]
    rows: list[dict[str, Any]] = []
    for record in records:
        for one in record.readings:
            if one.metric == metric and one.value is not None:
                low, high = (None if b is None else b * factor for b in (one.low, one.high))
                rows.append(
                    {
                        "number": len(rows) + 1,
                        "started": record.started,
                        "code": code_of(record),
                        "value": one.value * factor,
                        "low": low,
                        "high": high,
                    }
                )
    return pd.DataFrame(rows)


def code_of(record: Record) -> str:
    """Return the commit that measured, or else the digest of the code."""
    commit = record.provenance.get("commit")
    return str(commit) if commit else f"id {record.identity[:8]}"


def title_of(record: Record, variant: str) -> str:
    """Return a short title of a case; `variant`: how it differs from others of its model."""
    case = record.case
    digest = case["weights"]["sha256"]
    weights = weights_words(case["weights"]["kind"]) + (f" {digest[:8]}" if digest else "")
    return (
        f"{size_of(case)} px, batch {case['batch']}, {case['dtype']} {case['mode']}, "
        f"{case['device']} of {record.machine}, {weights}"
        f"{f', {variant}' if variant else ''}"
    )


def told(series: Series) -> str:
    """Return a summary of the history in a sentence or two."""
    count = len(series.frame)
    if count < FEWEST:
        return f"{count} measurements: at least {FEWEST} are needed to detect a step."
    if not series.steps:
        return f"No step in {count} measurements."
    lines = [
        f"{number(100 * (step.ratio - 1))} % from measurement {step.at + 1} on "
        f"({series.frame['code'].iloc[step.at]}, p {step.p:.3f})"
        for step in series.steps
    ]
    return (
        f"Steps: {'; '.join(lines)}. Stored runs are never interleaved: confirm a change in "
        "speed with sfbench compare --live."
    )


def drawn(series: Series) -> Figure:
    """Return the history as a figure: one point per trial, lines at the medians between steps."""
    ends = [0, *(step.at for step in series.steps), len(series.frame)]
    frame = series.frame.copy()
    frame["level"] = np.concatenate(
        [
            np.full(last - first, frame["value"].iloc[first:last].median())
            for first, last in itertools.pairwise(ends)
        ]
    )
    base = alt.Chart(frame, width=WIDTH, height=HEIGHT)
    x = alt.X("number:Q", title="measurement", axis=alt.Axis(tickMinStep=1, format="d"))
    y = alt.Y("value:Q", title=series.unit, scale=alt.Scale(zero=False))
    codes = list(dict.fromkeys(frame["code"]))
    colors = [OKABE_ITO[i % len(OKABE_ITO)] for i in range(len(codes))]
    color = alt.Color(
        "code:N",
        scale=alt.Scale(domain=codes, range=colors),
        legend=alt.Legend(orient="bottom", columns=4, title=None),
    )
    layers: list[alt.Chart] = [
        base.mark_line(interpolate="step", color="#777777").encode(x=x, y=alt.Y("level:Q")),
        base.mark_point(filled=True, size=50).encode(x=x, y=y, color=color),
    ]
    if frame["low"].notna().any():
        layers.append(base.mark_rule().encode(x=x, y=alt.Y("low:Q"), y2="high:Q", color=color))
    return Figure(f"{series.unit}: {series.title}", told(series), frame, alt.layer(*layers))
