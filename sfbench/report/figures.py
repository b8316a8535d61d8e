"""Figures of the report, each drawn from the frame that is its table; one spec for all formats."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import altair as alt
import pandas as pd

from sfbench.report import scaling_figure, scaling_table
from sfbench.report.figure import (
    OKABE_ITO,
    Figure,
    Look,
    bars_width,
    measured,
    of_weights,
    place_axis,
    places,
    with_tips,
)
from sfbench.report.frontier_figure import frontier
from sfbench.report.pareto_figure import paretos
from sfbench.report.spread_figures import latency, noise
from sfbench.report.time_figure import time
from sfbench.report.training_figure import training
from sfbench.store.training_runs import TrainingRun
from sfbench.values.metric import MEBI
from sfbench.values.metric_names import (
    CORE,
    DEVICE_ALLOCATED,
    DEVICE_RESERVED,
    HOST_ABOVE_LOADED,
    WEIGHTS,
)
from sfbench.values.records import Record

KINDS = {WEIGHTS: "weights", HOST_ABOVE_LOADED: "above the loaded model"}
SCALING_TEXT = (
    "Points are measurements, lines the fit a + b r² + c r⁴; below, the share of each term. Full "
    "attention grows with r⁴."
)
MOST_CROSSINGS = 3
"""Pairs of models whose crossing a caption names."""
ONE_CURVE = ["batch", "dtype", "mode", "device", "machine", "origin"]
"""What a scaling curve is of: the same batch at every resolution, on one machine."""


def figures(
    rows: pd.DataFrame, records: Sequence[Record], runs: Sequence[TrainingRun] = ()
) -> list[Figure]:
    """Return the figures that these summary rows and training logs have data for.

    What matters most comes first: quality against what it costs, then time. `records` are those that
    the rows summarize.
    """
    look = Look.of(rows)
    first, *further = [*paretos(rows, look), None]
    made = [first, time(rows, look), frontier(rows, look), *further]
    made += [*scalings(rows, records, look), memory(rows)]
    made += [latency(rows, records, look), noise(rows, records, look), training(runs, look)]
    return [figure for figure in made if figure is not None]


def scalings(rows: pd.DataFrame, records: Sequence[Record], look: Look) -> Iterator[Figure]:
    """Yield the fits a + b r^2 + c r^4 of what was measured at three resolutions or more.

    One figure per batch size, precision, mode and machine.
    """
    if CORE not in rows:
        return
    good = rows[(rows["status"] == "ok") & rows[CORE].notna()]
    for key, part in good.groupby(ONE_CURVE, sort=False):
        curves = []
        for name, one in part.assign(curve=curve_names(part)).groupby("curve", sort=False):
            # Of repeated measurements (e.g. with quality and without), the newest counts.
            sides = one.sort_values("started", kind="stable").drop_duplicates(
                "resolution", keep="last"
            )
            kept = set(sides["identity"])
            same = [record for record in records if record.identity in kept]
            found = scaling_table.curve(str(name), same)
            if found.scaling is not None:
                curves.append(found)
        if curves:
            batch, dtype, mode, device, machine, origin = key
            title = f"Scaling: batch {batch}, {dtype} {mode}, {device} of machine {machine}"
            title += "" if origin == "own" else f", {origin}"
            frame = scaling_table.frame(curves)
            met = [line for line in scaling_table.notes(curves, {}) if "cost the same at" in line]
            told = [f"{line[0].upper()}{line[1:]}." for line in met[:MOST_CROSSINGS]]
            if len(met) > MOST_CROSSINGS:
                told.append(f"{len(met) - MOST_CROSSINGS} more pairs: sfbench scaling.")
            text = " ".join([SCALING_TEXT, *told])
            yield Figure(title, text, frame, scaling_figure.chart(curves, frame, look))


def curve_names(part: pd.DataFrame) -> pd.Series:
    """Return the model, its options and weights, which are one curve over resolutions."""
    variant = part["variant"].map(lambda text: f" ({text})" if text else "")
    return part["model"] + variant + of_weights(part)


def memory(rows: pd.DataFrame) -> Figure | None:
    """Return the memory of the weights and of a call above them, stacked.

    On a GPU: weights, the peak of allocated memory above them, and what the allocator reserved.
    """
    frame = memory_frame(rows)
    if frame.empty:
        return None
    frame = frame.assign(MiB=frame["MiB"] / MEBI)
    frame["row"] = places(frame)
    frame["tip"] = frame["tip"] + "\n" + frame["kind"]
    frame = with_tips(frame, [("MiB", "MiB", None, None)])
    kinds = list(dict.fromkeys(frame["kind"]))
    chart = (
        alt.Chart(frame, width=bars_width(frame), height=alt.Step(24))
        .mark_bar()
        .encode(
            x=alt.X("MiB:Q", title="MiB", stack="zero"),
            y=place_axis(frame),
            color=alt.Color(
                "kind:N",
                title=None,
                scale=alt.Scale(domain=kinds, range=OKABE_ITO[: len(kinds)]),
                legend=alt.Legend(orient="bottom"),
            ),
            order=alt.Order("kind:N", sort="descending"),
        )
    )
    text = (
        "On a CPU: the weights, and the peak of a call above the loaded model. On a GPU: the "
        "weights, the peak allocation above them, and what the allocator reserved beyond that."
    )
    return Figure("Memory by kind", text, frame, chart)


def memory_frame(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row per case and kind of memory, in bytes."""
    gpu = rows[DEVICE_ALLOCATED].notna() if DEVICE_ALLOCATED in rows else rows["device"].isna()
    kinds = {kind: rows[name].where(~gpu) for name, kind in KINDS.items() if name in rows}
    if {DEVICE_ALLOCATED, DEVICE_RESERVED, WEIGHTS} <= set(rows.columns):
        weights = rows[WEIGHTS]
        kinds["weights"] = weights
        kinds["activations"] = (rows[DEVICE_ALLOCATED] - weights).where(gpu)
        kinds["reserved by allocator"] = (rows[DEVICE_RESERVED] - rows[DEVICE_ALLOCATED]).where(gpu)
    parts = [
        measured(rows.assign(bytes=values), {"bytes": "MiB"}).assign(kind=kind)
        for kind, values in kinds.items()
    ]
    kept = [part for part in parts if not part.empty]
    return pd.concat(kept) if kept else pd.DataFrame()
