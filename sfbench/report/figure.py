"""The parts of every figure: a chart with its data frame, labels, colors, marks, tooltips."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import vl_convert

from sfbench.values.metric_names import CUSTOM_TIMING
from sfbench.values.sizes import size_of

WIDTH, HEIGHT = 600, 300
OKABE_ITO = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7f7f7f"]
"""Distinguishable with any color vision (Okabe and Ito, 2008); gray for their black."""
SHAPES = ["circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "stroke"]
APART = (
    ("batch", " b{}"),
    ("dtype", " {}"),
    ("mode", " {}"),
    ("device", " {}"),
    ("machine", " @{}"),
    ("origin", " ({})"),
)
"""What separates the rows of a model: no line joins two machines."""
HIDDEN = frozenset({"row", "tip", "identity", "apart", "px"})
"""Columns of a frame that the chart needs, and its table does not show."""
LINES, SOFT = "currentColor", 0.25
WIDE = 4.0
"""Positive values of which one is so many times another are drawn on a logarithmic axis."""
CONFIG: dict[str, Any] = {
    "background": "transparent",
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "padding": {"left": 24, "right": 12, "top": 6, "bottom": 6},
    "axis": {
        "labelColor": LINES,
        "titleColor": LINES,
        "domainColor": LINES,
        "tickColor": LINES,
        "gridColor": LINES,
        "gridOpacity": 0.12,
        "domainOpacity": SOFT,
        "tickOpacity": SOFT,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "labelLimit": 260,
    },
    "legend": {"labelColor": LINES, "titleColor": LINES, "labelFontSize": 12, "labelLimit": 400},
    "header": {"labelColor": LINES, "titleColor": LINES, "labelFontSize": 12},
    "title": {"color": LINES, "fontSize": 12, "fontWeight": "normal", "anchor": "start"},
    "text": {"color": LINES},
    "rule": {"color": LINES},
}
"""Colors of the page's text, on light ground or dark."""
LEGEND = alt.Legend(orient="bottom", columns=3, labelLimit=240, columnPadding=28)
TopLevel = alt.Chart | alt.LayerChart | alt.FacetChart | alt.VConcatChart


@dataclasses.dataclass(frozen=True, slots=True)
class Figure:
    """A chart, and the frame it was drawn from."""

    title: str
    text: str
    frame: pd.DataFrame
    chart: TopLevel

    def svg(self) -> str:
        """Return the chart as SVG, in the colors of the text around it."""
        return str(vl_convert.vegalite_to_svg(self.spec()))

    def spec(self) -> dict[str, Any]:
        """Return the chart as a Vega-Lite specification."""
        found: dict[str, Any] = json.loads(self.chart.to_json())
        found.pop("$schema", None)
        return found | {"config": CONFIG}

    def table(self) -> pd.DataFrame:
        """Return the numbers that the chart shows."""
        return self.frame.drop(columns=list(HIDDEN), errors="ignore")


@dataclasses.dataclass(frozen=True, slots=True)
class Look:
    """The color and the mark of each model, the same in every figure of a page."""

    models: tuple[str, ...]

    @classmethod
    def of(cls, rows: pd.DataFrame) -> Look:
        """Return the look of the models of these rows, in their order."""
        return cls(tuple(dict.fromkeys(rows["model"])) if "model" in rows else ())

    def place(self, model: str) -> int:
        """Return the number of a model; those of no row come last."""
        return self.models.index(model) if model in self.models else len(self.models)

    def tint(self, model: str) -> str:
        """Return a model's color."""
        return OKABE_ITO[self.place(model) % len(OKABE_ITO)]

    def mark(self, model: str) -> str:
        """Return a model's mark; after seven models, it differs where the color does not."""
        place = self.place(model)
        return SHAPES[(place + place // len(SHAPES)) % len(SHAPES)]

    def color(self, frame: pd.DataFrame, *, legend: bool = True) -> alt.Color:
        """Return the color of a frame's models."""
        models = self.present(frame)
        scale = alt.Scale(domain=models, range=[self.tint(model) for model in models])
        shown = LEGEND if legend else None
        return alt.Color("model:N", title=None, scale=scale, legend=shown)

    def shape(self, frame: pd.DataFrame, *, legend: bool = True) -> alt.Shape:
        """Return the mark of a frame's models: color alone must not distinguish them."""
        models = self.present(frame)
        scale = alt.Scale(domain=models, range=[self.mark(model) for model in models])
        shown = LEGEND if legend else None
        return alt.Shape("model:N", title=None, scale=scale, legend=shown)

    def present(self, frame: pd.DataFrame) -> list[str]:
        """Return the models of a frame, in the order of the page."""
        return sorted(dict.fromkeys(frame["model"]), key=self.place)


def labeled(rows: pd.DataFrame) -> pd.Series:
    """Return the label of a row: the model, and what else varies."""
    return rows["model"].astype(str) + told_apart(rows)


def told_apart(rows: pd.DataFrame) -> pd.Series:
    """Return what a row is told apart by from others of its model; empty where nothing varies."""
    label = pd.Series("", index=rows.index)
    if (rows["variant"] != "").any():
        label = label + rows["variant"].map(lambda text: f" ({text})" if text else "")
    for name, form in APART:
        if name in rows and len(set(rows[name])) > 1:
            label = label + rows[name].map(form.format)
    label = label + of_weights(rows)
    if "flags" in rows:
        custom = rows["flags"].fillna("").str.contains(CUSTOM_TIMING, regex=False)
        label = label + custom.map(lambda is_custom: ", custom timing" if is_custom else "")
    # Among rows with the same label, the older ones are numbered.
    order = rows["started"].sort_values(ascending=False, kind="stable").index
    whole = rows["model"][order].astype(str) + label[order]
    number = whole.groupby([whole, rows["resolution"][order]]).cumcount()
    numbers: pd.Series = number.reindex(label.index).map(lambda n: f" #{n + 1}" if n else "")
    return label + numbers


def labeled_without(rows: pd.DataFrame, chosen: pd.DataFrame, rest: str) -> str:
    """Return the label of rows that differ in one setting: without it, `rest` are the others."""
    row = chosen.iloc[0]
    label = f"{row['model']}{f' ({rest})' if rest else ''}"
    if len({size_of(one) for _, one in rows.iterrows()}) > 1:
        label += f" {size_of(row)} px"
    for name, form in APART:
        if name in rows and len(set(rows[name])) > 1:
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


def places(frame: pd.DataFrame) -> pd.Series:
    """Return each row's name: its model, what tells it apart, and of several its resolution."""
    cases = frame.drop_duplicates(["label", "px"])
    counts = cases.groupby(["model", "px"])["label"].transform("size").to_numpy()
    repeated = set(map(tuple, cases.loc[counts > 1, ["model", "px"]].to_numpy().tolist()))
    several = len(set(frame["px"])) > 1
    names = [
        (row["label"] if (row["model"], row["px"]) in repeated else row["model"])
        + (f" {row['px']} px" if several else "")
        for _, row in frame.iterrows()
    ]
    return pd.Series(names, index=frame.index)


def place_axis(frame: pd.DataFrame) -> alt.Y:
    """Return an axis of the rows' names, in the order of the frame."""
    order = list(dict.fromkeys(frame["row"]))
    return alt.Y("row:N", title=None, sort=order, axis=alt.Axis(labelLimit=300))


def bars_width(frame: pd.DataFrame) -> int:
    """Return the width of a panel beside the names of the rows."""
    longest = max((len(str(name)) for name in frame["row"]), default=0)
    return WIDTH - min(300, 7 * longest)


def fitted(values: pd.Series | pd.DataFrame, *, zero: bool = False, padding: int = 24) -> alt.Scale:
    """Return a scale that fits the values: logarithmic where they span more than `WIDE`.

    `zero`: a linear scale begins at zero.
    """
    if is_wide(values):
        return alt.Scale(type="log", nice=False, padding=padding)
    if zero:
        return alt.Scale(zero=True, nice=True)
    return alt.Scale(zero=False, nice=False, padding=padding)


def is_wide(values: pd.Series | pd.DataFrame) -> bool:
    """Return whether values are all positive and span more than `WIDE`; a bound of none is left out."""
    found = values.to_numpy(dtype=float)
    found = found[np.isfinite(found)]
    return bool(len(found) and found.min() > 0 and found.max() / found.min() >= WIDE)


def resolution_axis(data: pd.DataFrame) -> alt.X:
    """Return a logarithmic axis of the resolutions present."""
    sides = sorted(set(data["resolution"]))
    return alt.X(
        "resolution:Q",
        title="resolution (px)",
        scale=alt.Scale(type="log", domain=[sides[0] * 0.9, sides[-1] * 1.1]),
        axis=alt.Axis(values=sides),
    )


def measured(rows: pd.DataFrame, columns: Mapping[str, str]) -> pd.DataFrame:
    """Return the rows that have the first of these columns, renamed, with their labels."""
    first = next(iter(columns))
    if first not in rows:
        return pd.DataFrame()
    chosen = rows[rows[first].notna() & (rows["status"] == "ok")]
    if chosen.empty:
        return pd.DataFrame()
    kept = ["model", "resolution", "width", "batch", "dtype", "identity"]
    there = {name: new for name, new in columns.items() if name in chosen and name not in kept}
    frame = chosen[[*kept, *there]].rename(columns=there)
    # Of all rows: a row has one name in every figure.
    frame = frame.assign(
        label=labeled(rows).loc[chosen.index],
        apart=told_apart(rows).loc[chosen.index].str.strip(),
        px=[str(size_of(row)) for _, row in chosen.iterrows()],
    )
    title = frame["label"] + ", " + frame["px"] + " px, batch " + frame["batch"].astype(str)
    return frame.assign(tip=title)


def with_tips(frame: pd.DataFrame, lines: Sequence[tuple[str, str, str | None, str | None]]) -> Any:
    """Return the frame with a line of tooltip for each column: name, unit, and those of its bounds."""
    tips = frame["tip"].tolist()
    for place, (_, row) in enumerate(frame.iterrows()):
        for name, unit, low, high in lines:
            if name not in frame or pd.isna(row[name]):
                continue
            text = f"\n{name if unit else ''} {significant(row[name])} {unit}".replace("\n ", "\n")
            bounds = (row.get(low), row.get(high)) if low and high else (None, None)
            if all(bound is not None and not pd.isna(bound) for bound in bounds):
                text += f" [{significant(bounds[0])}, {significant(bounds[1])}]"
            tips[place] += text.rstrip()
    return frame.assign(tip=tips)


def significant(value: Any) -> str:
    """Return a number with four significant digits."""
    return f"{float(value):,.4g}"
