"""Figures of the report, each drawn from the frame that is its table. One spec gives every format."""

from __future__ import annotations

import dataclasses

import altair as alt
import pandas as pd

from sfbench.records import is_distance
from sfbench.report.scaling_figure import OKABE_ITO, resolution_axis

WIDTH, HEIGHT = 560, 280
MEBI = 1 << 20
KINDS = {"memory.weights": "weights", "memory.host_above_loaded": "above what was loaded"}
APART = (
    ("batch", " b{}"),
    ("dtype", " {}"),
    ("mode", " {}"),
    ("device", " {}"),
    ("machine", " @{}"),
)
"""What parts the rows of a model: no line joins two machines."""
SHAPES = ["circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "stroke"]


@dataclasses.dataclass(frozen=True, slots=True)
class Figure:
    """A chart, and the very frame it was drawn from."""

    title: str
    text: str
    frame: pd.DataFrame
    chart: alt.Chart | alt.LayerChart | alt.FacetChart


def figures(rows: pd.DataFrame) -> list[Figure]:
    """Return the figures that these rows of the summary have numbers for."""
    made = (make(rows) for make in (throughput, memory, latency, pareto))
    return [figure for figure in made if figure is not None]


def labelled(rows: pd.DataFrame) -> pd.Series:
    """Return what tells a row apart in a legend: the model, and what varies beside it."""
    label = rows["model"].astype(str)
    if (rows["variant"] != "").any():
        label = label + rows["variant"].map(lambda text: f" ({text})" if text else "")
    for name, form in APART:
        if len(set(rows[name])) > 1:
            label = label + rows[name].map(form.format)
    return label


def palette(frame: pd.DataFrame) -> alt.Scale:
    """Return a colour a label, told apart with any colour vision."""
    labels = list(dict.fromkeys(frame["label"]))
    return alt.Scale(
        domain=labels, range=[OKABE_ITO[i % len(OKABE_ITO)] for i in range(len(labels))]
    )


def colour(frame: pd.DataFrame) -> alt.Color:
    """Return the colour of the labels, with a legend."""
    legend = alt.Legend(orient="bottom", columns=2, labelLimit=400)
    return alt.Color("label:N", title=None, scale=palette(frame), legend=legend)


def shape(frame: pd.DataFrame) -> alt.Shape:
    """Return the shape of the labels: colour alone tells nothing apart."""
    labels = list(dict.fromkeys(frame["label"]))
    found = [SHAPES[i % len(SHAPES)] for i in range(len(labels))]
    return alt.Shape("label:N", title=None, scale=alt.Scale(domain=labels, range=found))


def measured(rows: pd.DataFrame, columns: dict[str, str]) -> pd.DataFrame:
    """Return the rows that have the first of these columns, renamed, with their labels."""
    first = next(iter(columns))
    if first not in rows:
        return pd.DataFrame()
    chosen = rows[rows[first].notna() & (rows["status"] == "ok")]
    there = {name: new for name, new in columns.items() if name in chosen}
    frame = chosen[["model", "resolution", "batch", *there]].rename(columns=there)
    return frame.assign(label=labelled(chosen))


def throughput(rows: pd.DataFrame) -> Figure | None:
    """Return images per second over resolution, with intervals."""
    frame = measured(
        rows,
        {
            "throughput.core": "images/s",
            "throughput.core.low": "low",
            "throughput.core.high": "high",
        },
    )
    if frame.empty:
        return None
    x = resolution_axis(frame)
    y = alt.Y("images/s:Q", title="images/s", scale=alt.Scale(type="log"))
    base = alt.Chart(frame, width=WIDTH, height=HEIGHT)
    layers: list[alt.Chart] = [
        base.mark_line(strokeWidth=1.5).encode(x=x, y=y, color=colour(frame)),
        base.mark_point(filled=True, size=60).encode(
            x=x, y=y, color=colour(frame), shape=shape(frame)
        ),
    ]
    if {"low", "high"} <= set(frame.columns):
        layers.append(base.mark_rule().encode(x=x, y="low:Q", y2="high:Q", color=colour(frame)))
    text = "Both axes are logarithmic; bars are 95 % intervals."
    return Figure("Throughput over resolution", text, frame, alt.layer(*layers))


def memory(rows: pd.DataFrame) -> Figure | None:
    """Return the memory of weights and of the peak above what was loaded, stacked."""
    parts = [
        measured(rows, {name: "MiB"}).assign(kind=kind)
        for name, kind in KINDS.items()
        if name in rows
    ]
    frame = pd.concat([part for part in parts if not part.empty]) if parts else pd.DataFrame()
    if frame.empty:
        return None
    frame = frame.assign(MiB=frame["MiB"] / MEBI)
    frame["row"] = frame["label"] + frame["resolution"].map(" {} px".format)
    order = list(dict.fromkeys(frame["row"]))
    chart = (
        alt.Chart(frame, width=WIDTH - 160)
        .mark_bar()
        .encode(
            x=alt.X("MiB:Q", title="MiB", stack="zero"),
            y=alt.Y("row:N", title=None, sort=order, axis=alt.Axis(labelLimit=300)),
            color=alt.Color(
                "kind:N",
                title=None,
                scale=alt.Scale(domain=list(KINDS.values()), range=OKABE_ITO[:2]),
                legend=alt.Legend(orient="bottom"),
            ),
        )
    )
    text = "Memory of the host: the weights, and the peak of a call above what was loaded."
    return Figure("Memory by kind", text, frame, chart)


def latency(rows: pd.DataFrame) -> Figure | None:
    """Return the median and the 90th percentile of latency."""
    frame = measured(rows, {"latency.p50": "p50", "latency.p90": "p90"})
    if frame.empty or "p90" not in frame:
        return None
    frame = frame.assign(p50=frame["p50"] * 1000, p90=frame["p90"] * 1000)
    frame["row"] = frame["label"] + frame["resolution"].map(" {} px".format)
    order = list(dict.fromkeys(frame["row"]))
    y = alt.Y("row:N", title=None, sort=order, axis=alt.Axis(labelLimit=300))
    scale = alt.Scale(type="log")
    base = alt.Chart(frame, width=WIDTH - 160)
    tone = alt.Color("label:N", scale=palette(frame), legend=None)
    bar = base.mark_rule(strokeWidth=4).encode(
        x=alt.X("p50:Q", title="ms a call: median to 90th percentile", scale=scale),
        x2="p90:Q",
        y=y,
        color=tone,
    )
    point = base.mark_point(filled=True, size=50).encode(x="p50:Q", y=y, color=tone)
    text = "From the median (point) to the 90th percentile; the axis is logarithmic."
    return Figure("Latency", text, frame, alt.layer(bar, point))


def pareto(rows: pd.DataFrame) -> Figure | None:
    """Return quality against speed; what another row beats in both is grey.

    Only rows that hold both of the same thing (see `pairing`), of one basis of quality, one machine.
    """
    name = next(filter(is_distance, rows.columns), None)
    if name is None:
        return None
    frame = measured(rows, {name: "distance", "throughput.core": "images/s"})
    if frame.empty or "images/s" not in frame:
        return None
    alike = rows.loc[frame.index, ["quality", "machine", "device"]]
    frame = frame[(alike == alike.iloc[0]).all(axis=1) & frame["images/s"].notna()]
    if frame.empty:
        return None
    beaten = [
        bool(
            ((frame["distance"] <= d) & (frame["images/s"] >= s)
             & ((frame["distance"] < d) | (frame["images/s"] > s))).any()
        )
        for d, s in zip(frame["distance"], frame["images/s"], strict=True)
    ]  # fmt: skip
    frame = frame.assign(dominated=beaten)
    grey = alt.when(alt.datum.dominated).then(alt.value("#9a9a9a")).otherwise(colour(frame))
    chart = (
        alt.Chart(frame, width=WIDTH, height=HEIGHT)
        .mark_point(filled=True, size=90)
        .encode(
            x=alt.X("images/s:Q", scale=alt.Scale(type="log")),
            y=alt.Y("distance:Q", title=name, scale=alt.Scale(type="log")),
            color=grey,
            shape=shape(frame),
        )
    )
    text = "Lower and to the right is better; what another beats in both is grey."
    return Figure("Quality against speed", text, frame, chart)
