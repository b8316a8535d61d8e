"""The scaling figure: measured points and fitted lines, and the share of each term below."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from sfbench.report.figure import Look, fitted, resolution_axis
from sfbench.report.figure_files import write_chart
from sfbench.report.scaling import predicted
from sfbench.report.scaling_table import TERMS, Curve, crossovers, frame

POINTS = 80
WIDTH = 560
FONT = "system-ui, DejaVu Sans, sans-serif"
"""In a PNG the second: a font without the figure ⁴ would be replaced by one with serifs."""
LABELS = {"1": "constant", "r^2": "pixels (r²)", "r^4": "pixel pairs (r⁴)"}


def write(curves: Sequence[Curve], path: Path) -> None:
    """Write the figure; the suffix decides the format. Raises UsageError for another suffix."""
    look = Look(tuple(curve.model for curve in curves))
    write_chart(chart(curves, frame(curves), look), path)


def chart(curves: Sequence[Curve], table: pd.DataFrame, look: Look) -> alt.VConcatChart:
    """Return the figure of the frame that the table shows.

    A curve has the look of its model where that has one curve alone.
    """
    data = table.dropna(subset=["seconds"]).assign(
        ms=lambda f: f["seconds"] * 1000,
        ms_low=lambda f: f["low"] * 1000,
        ms_high=lambda f: f["high"] * 1000,
    )
    models = [one.model for one in curves if one.scaling is not None]
    known = look if set(models) <= set(look.models) else Look(tuple(models))
    color = known.color(pd.DataFrame({"model": models}))
    shape = known.shape(pd.DataFrame({"model": models}), legend=False)
    x = resolution_axis(data)
    y = alt.Y(
        "ms:Q", title="ms per image", scale=fitted(data[["ms_low", "ms_high", "ms"]], padding=12)
    )
    lines = alt.Chart(fit_lines(curves)).mark_line(strokeWidth=1.5).encode(x=x, y=y, color=color)
    points = (
        alt.Chart(data).mark_point(filled=True, size=50).encode(x=x, y=y, color=color, shape=shape)
    )
    bars = alt.Chart(data).mark_rule().encode(x=x, y="ms_low:Q", y2="ms_high:Q", color=color)
    layers: list[Any] = [lines, bars, points]
    met = [
        {"resolution": found.value, "text": f"{a} = {b}: {found.value:.0f} px"}
        for a, b, found in crossovers(curves)
        if found is not None
    ]
    if met:
        rules = alt.Chart(pd.DataFrame(met))
        layers.append(rules.mark_rule(strokeDash=[4, 4], color="gray").encode(x=x, tooltip="text"))
    batch = curves[0].batch
    top = alt.layer(*layers).properties(
        width=WIDTH,
        height=260,
        title=f"Time per image, batch {batch}: measured points, fit a + b r² + c r⁴",
    )
    figure: alt.VConcatChart = alt.vconcat(top, shares_chart(data, models))
    independent: alt.VConcatChart = figure.resolve_scale(color="independent").configure(font=FONT)
    return independent


def fit_lines(curves: Sequence[Curve]) -> pd.DataFrame:
    """Return points along each fit."""
    rows = []
    for one in curves:
        if one.scaling is None:
            continue
        coefficients = [c.value for c in one.scaling.coefficients]
        ends = one.scaling.resolutions
        rows += [
            {"model": one.model, "resolution": r, "ms": 1000 * float(predicted(coefficients, r))}
            for r in np.geomspace(ends[0], ends[-1], POINTS)
        ]
    return pd.DataFrame(rows)


def shares_chart(data: pd.DataFrame, models: Sequence[str]) -> alt.FacetChart:
    """Return the share of each term at each resolution, one panel per model."""
    names = [f"share {term}" for term in TERMS]
    parts = data.melt(["model", "resolution"], names, "term", "share")
    parts["term"] = parts["term"].map({f"share {t}": LABELS[t] for t in TERMS})
    order = [LABELS[t] for t in TERMS]
    found: alt.FacetChart = (
        alt.Chart(parts)
        .mark_bar()
        .encode(
            x=alt.X("resolution:O", title="px", axis=alt.Axis(labelAngle=0)),
            y=alt.Y("share:Q", title="share of the fitted time", axis=alt.Axis(format="%")),
            color=alt.Color(
                "term:N",
                sort=order,
                scale=alt.Scale(domain=order, range=["#bbbbbb", "#56B4E9", "#D55E00"]),
            ),
        )
        .properties(width=max(90, WIDTH // max(len(models), 1) - 20), height=110)
        .facet(column=alt.Column("model:N", sort=list(models), title=None))
    )
    return found
