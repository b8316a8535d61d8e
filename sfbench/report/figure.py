"""The parts of every figure: a chart with its data frame, labels, colors, shapes."""

from __future__ import annotations

import dataclasses

import altair as alt
import pandas as pd
import vl_convert

from sfbench.values.metric_names import CUSTOM_TIMING
from sfbench.values.sizes import size_of

WIDTH, HEIGHT = 560, 280
OKABE_ITO = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
"""Distinguishable with any color vision (Okabe and Ito, 2008)."""
SHAPES = ["circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "stroke"]
APART = (
    ("batch", " b{}"),
    ("dtype", " {}"),
    ("mode", " {}"),
    ("device", " {}"),
    ("machine", " @{}"),
)
"""What separates the rows of a model: no line joins two machines."""


@dataclasses.dataclass(frozen=True, slots=True)
class Figure:
    """A chart, and the frame it was drawn from."""

    title: str
    text: str
    frame: pd.DataFrame
    chart: alt.Chart | alt.LayerChart | alt.FacetChart | alt.VConcatChart

    def svg(self) -> str:
        """Return the chart as SVG."""
        return str(vl_convert.vegalite_to_svg(self.chart.to_json()))


def labeled(rows: pd.DataFrame) -> pd.Series:
    """Return the label of a row in a legend: the model, and what else varies."""
    label = rows["model"].astype(str)
    if (rows["variant"] != "").any():
        label = label + rows["variant"].map(lambda text: f" ({text})" if text else "")
    for name, form in APART:
        if len(set(rows[name])) > 1:
            label = label + rows[name].map(form.format)
    label = label + of_weights(rows)
    if "flags" in rows:
        custom = rows["flags"].fillna("").str.contains(CUSTOM_TIMING, regex=False)
        label = label + custom.map(lambda is_custom: ", custom timing" if is_custom else "")
    # Among rows with the same label, the older ones are numbered.
    order = rows["started"].sort_values(ascending=False, kind="stable").index
    number = label[order].groupby([label[order], rows["resolution"][order]]).cumcount()
    return label + number.reindex(label.index).map(lambda n: f" #{n + 1}" if n else "")


def labeled_without(rows: pd.DataFrame, chosen: pd.DataFrame, rest: str) -> str:
    """Return the label of rows that differ in one setting: without it, `rest` are the others."""
    row = chosen.iloc[0]
    label = f"{row['model']}{f' ({rest})' if rest else ''}"
    if len({size_of(one) for _, one in rows.iterrows()}) > 1:
        label += f" {size_of(row)} px"
    for name, form in APART:
        if len(set(rows[name])) > 1:
            label += form.format(row[name])
    return label + str(of_weights(rows).loc[chosen.index[0]])


def of_weights(rows: pd.DataFrame) -> pd.Series:
    """Return which weights a row is of, where its model has several at one resolution."""
    told = rows["weights"] + rows["weights_sha256"].map(
        lambda s: f" {s[:8]}" if isinstance(s, str) else ""
    )
    several = told.groupby([rows["model"], rows["resolution"]]).transform("nunique") > 1
    mixed = several.groupby(rows["model"]).transform("any")
    return told.map(" {}".format).where(mixed, "")


def palette(frame: pd.DataFrame) -> alt.Scale:
    """Return one color per label, distinguishable with any color vision."""
    labels = list(dict.fromkeys(frame["label"]))
    return alt.Scale(
        domain=labels, range=[OKABE_ITO[i % len(OKABE_ITO)] for i in range(len(labels))]
    )


def color(frame: pd.DataFrame) -> alt.Color:
    """Return the color of the labels, with a legend."""
    legend = alt.Legend(orient="bottom", columns=2, labelLimit=400)
    return alt.Color("label:N", title=None, scale=palette(frame), legend=legend)


def shape(frame: pd.DataFrame) -> alt.Shape:
    """Return the shape of the labels: color alone must not distinguish them."""
    labels = list(dict.fromkeys(frame["label"]))
    found = [SHAPES[i % len(SHAPES)] for i in range(len(labels))]
    return alt.Shape("label:N", title=None, scale=alt.Scale(domain=labels, range=found))


def places(frame: pd.DataFrame) -> pd.Series:
    """Return each row's name: its label and its resolution."""
    sides = frame.apply(lambda row: f" {size_of(row)} px", axis=1)
    return frame["label"] + sides


def place_axis(frame: pd.DataFrame) -> alt.Y:
    """Return an axis of the rows' names, in the order of the frame."""
    order = list(dict.fromkeys(frame["row"]))
    return alt.Y("row:N", title=None, sort=order, axis=alt.Axis(labelLimit=300))


def resolution_axis(data: pd.DataFrame) -> alt.X:
    """Return a logarithmic axis of the resolutions present."""
    sides = sorted(set(data["resolution"]))
    return alt.X(
        "resolution:Q",
        title="resolution (px)",
        scale=alt.Scale(type="log", domain=[sides[0] * 0.9, sides[-1] * 1.1]),
        axis=alt.Axis(values=sides),
    )


def measured(rows: pd.DataFrame, columns: dict[str, str]) -> pd.DataFrame:
    """Return the rows that have the first of these columns, renamed, with their labels."""
    first = next(iter(columns))
    if first not in rows:
        return pd.DataFrame()
    chosen = rows[rows[first].notna() & (rows["status"] == "ok")]
    there = {name: new for name, new in columns.items() if name in chosen}
    frame = chosen[["model", "resolution", "width", "batch", *there]].rename(columns=there)
    # Of all rows: a row has one name in every figure.
    return frame.assign(label=labeled(rows).loc[chosen.index])
