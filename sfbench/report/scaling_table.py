"""Scaling fits as a table for 80 columns, as JSON values, and as tidy frames for the figure."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sfbench.report.numbers import ABSENT, number
from sfbench.report.scaling import Interval, Scaling, crossover, fitted
from sfbench.values.metric import MEBI
from sfbench.values.metric_names import CORE, DEVICE_ALLOCATED, HOST_ABOVE_LOADED
from sfbench.values.records import Record

TERMS = ("1", "r^2", "r^4")
WIDTHS = {"px": 4, "ms/image": 8, "±": 6, "slope": 6, "GFLOP": 7, "MiB": 6}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One model over resolutions: the fit of its seconds per image, FLOPs, memory, failures.

    `scaling` is None with fewer than three measured resolutions.
    """

    model: str
    batch: int
    trials: int
    scaling: Scaling | None
    seconds: Mapping[int, Sequence[float]]
    flops: Mapping[int, float]
    memory: Mapping[int, float]
    missing: Mapping[int, str]


def curve(model: str, records: Sequence[Record]) -> Curve:
    """Return the curve of one model's records."""
    seconds: dict[int, list[float]] = {}
    blocks: dict[int, list[float]] = {}
    flops: dict[int, float] = {}
    memory: dict[int, float] = {}
    missing: dict[int, str] = {}
    for record in records:
        side = int(record.case["resolution"])
        if record.status != "ok":
            missing[side] = f"{record.status}: {record.reason}"
            continue
        for reading in record.readings:
            if reading.value is None or reading.value <= 0:
                continue
            if reading.metric == CORE:
                seconds.setdefault(side, []).append(1 / reading.value)
                blocks.setdefault(side, []).extend(1 / rate for rate in reading.samples)
            elif reading.metric == "flops":
                flops[side] = reading.value
            elif reading.metric == HOST_ABOVE_LOADED:
                memory.setdefault(side, reading.value)
            elif reading.metric == DEVICE_ALLOCATED:
                memory[side] = reading.value  # where there is a device, its memory counts
    trials = min(map(len, seconds.values()), default=0)
    # With a single trial, blocks stand in for trials; a record may lack them.
    values = {s: blocks[s] or seconds[s] for s in seconds} if trials == 1 else seconds
    enough = len(values) >= 3  # noqa: PLR2004  # unknowns of the fit
    return Curve(
        model=model,
        batch=int(records[0].case["batch"]),
        trials=trials,
        scaling=fitted(values) if enough else None,
        seconds=values,
        flops=flops,
        memory=memory,
        missing=missing,
    )


def exponent(values: Mapping[int, float]) -> float | None:
    """Return d log value / d log r over the two largest resolutions; None with fewer."""
    sides = sorted(side for side in values if values[side] > 0)
    if len(sides) < 2:  # noqa: PLR2004  # a slope
        return None
    low, high = sides[-2:]
    return math.log(values[high] / values[low]) / math.log(high / low)


def frame(curves: Sequence[Curve]) -> pd.DataFrame:
    """Return one row per model and resolution: what the table shows and the figure draws."""
    rows = []
    for one in curves:
        for side in sorted({*one.seconds, *one.missing}):
            row: dict[str, Any] = {
                "model": one.model,
                "resolution": side,
                "batch": one.batch,
                "trials": one.trials,
                "flops": one.flops.get(side),
                "memory": one.memory.get(side),
                "missing": one.missing.get(side),
            }
            if one.scaling is not None and side in one.scaling.costs:
                scaling = one.scaling
                cost = scaling.costs[side]
                row |= {"seconds": cost.value, "low": cost.low, "high": cost.high}
                row |= {"fit": scaling.cost(side)}
                row |= dict(zip((f"share {t}" for t in TERMS), scaling.shares[side], strict=True))
                if side in scaling.slopes:
                    row["slope"] = scaling.slopes[side].value
                    row["slope.low"] = scaling.slopes[side].low
                    row["slope.high"] = scaling.slopes[side].high
            rows.append(row)
    return pd.DataFrame(rows)


def crossovers(curves: Sequence[Curve]) -> list[tuple[str, str, Interval | None]]:
    """Return, for each pair of models, the resolution at which they cost the same."""
    return [
        (a.model, b.model, crossover(a.scaling, b.scaling))
        for a, b in itertools.combinations(curves, 2)
        if a.scaling is not None and b.scaling is not None
    ]


def table(curves: Sequence[Curve], summaries: Mapping[str, str]) -> RenderableType:
    """Return the table, the exponents and the crossovers; `summaries` say what each model is."""
    data = frame(curves)
    parts: list[RenderableType] = []
    for model, part in data.groupby("model", sort=False):
        rows = table_of(part)
        parts += [Text(str(model), style="bold"), rows]
    return Group(*parts, *(Text(line) for line in notes(curves, summaries)))


def table_of(part: pd.DataFrame) -> Table:
    """Return one model's rows."""
    found = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("px", "ms/image", "±", "slope", *(f"% {t}" for t in TERMS), "GFLOP", "MiB"):
        found.add_column(name, justify="right", no_wrap=True, min_width=WIDTHS.get(name))
    for _, row in part.iterrows():
        found.add_row(*cells(row))
    return found


def cells(row: Any) -> list[str]:
    """Return the cells of one model and resolution."""

    def shown(name: str, factor: float = 1.0, digits: int = 3) -> str:
        value = row.get(name)
        return ABSENT if value is None or pd.isna(value) else number(value * factor, digits)

    def fixed(name: str, form: str) -> str:
        value = row.get(name)
        return ABSENT if value is None or pd.isna(value) else form.format(value + 0.0)

    half = ABSENT
    if not pd.isna(row.get("low")):
        half = number((row["high"] - row["low"]) * 500, 2)
    return [
        str(row["resolution"]),
        shown("seconds", 1000),
        half,
        fixed("slope", "{:.2f}"),
        *(fixed(f"share {term}", "{:.0%}").rstrip("%") for term in TERMS),
        shown("flops", 1e-9),
        shown("memory", 1 / MEBI),
    ]


def notes(curves: Sequence[Curve], summaries: Mapping[str, str]) -> list[str]:
    """Return exponents, quality of the fit, crossovers, and what was not measured."""
    lines = [
        "ms/image of the core region; slope: d log time / d log r to the next resolution, measured;",
        "%: terms of the fit a + b r^2 + c r^4; MiB: peak above the loaded model",
    ]
    for one in curves:
        lines.append(f"{one.model}: {summaries.get(one.model, '')}")
        flops, memory = exponent(one.flops), exponent(one.memory)
        if one.scaling is None:
            lines.append("  fewer than three resolutions measured: no fit")
        else:
            whole = one.scaling.exponent
            ends = one.scaling.resolutions
            what = "blocks of one process" if one.trials == 1 else f"{one.trials} trials"
            lines.append(
                f"  time exponent {whole.value:.2f} [{whole.low:.2f}, {whole.high:.2f}] over "
                f"{ends[0]}-{ends[-1]} px ({what}); largest fit error "
                f"{100 * one.scaling.worst:.0f} %"
            )
        lines.append(
            f"  at the two largest: FLOP exponent {number(flops)}, memory exponent {number(memory)}"
        )
        lines += [f"  {side} px: {reason}" for side, reason in sorted(one.missing.items())]
    for a, b, found in crossovers(curves):
        where = "none in the measured range"
        if found is not None:
            where = f"{found.value:.0f} px [{found.low:.0f}, {found.high:.0f}]"
        lines.append(f"{a} and {b} cost the same at: {where}")
    return lines


def document(curves: Sequence[Curve]) -> dict[str, Any]:
    """Return everything as JSON values."""
    fits = {}
    for one in curves:
        if one.scaling is not None:
            fits[one.model] = {
                "coefficients": {
                    t: dataclasses.asdict(c)
                    for t, c in zip(TERMS, one.scaling.coefficients, strict=True)
                },
                "exponent": dataclasses.asdict(one.scaling.exponent),
                "worst_relative_error": one.scaling.worst,
                "flop_exponent": exponent(one.flops),
                "memory_exponent": exponent(one.memory),
            }
    rows = frame(curves)
    return {
        "rows": [
            {k: None if pd.isna(v) else v for k, v in row.items()}
            for row in rows.to_dict(orient="records")
        ],
        "fits": fits,
        "crossovers": [
            {"a": a, "b": b, "resolution": None if x is None else dataclasses.asdict(x)}
            for a, b, x in crossovers(curves)
        ],
    }
