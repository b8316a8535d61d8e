"""Behind `sfbench frontier`: measures one knob where its curve bends, and shows what it buys."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfbench.api.errors import UsageError
from sfbench.cli import measuring
from sfbench.cli.exits import Exit
from sfbench.cli.measuring import Settings
from sfbench.cli.progress import clock
from sfbench.report.figure_files import check_figure
from sfbench.run.frontier import first_values, next_value
from sfbench.values.case import Request
from sfbench.values.messages import counted
from sfbench.values.paths import model_names
from sfbench.values.sizes import parse_sizes
from sfbench.values.sweeps import Range, parse_range

if TYPE_CHECKING:
    from sfbench.report.frontier_figure import Curve
    from sfbench.values.frontier import Point
    from sfbench.values.records import Record

UNITS = {"s": 1, "m": 60, "h": 3600}
MOST = 24
"""Values of a knob, however long the budget."""


@dataclasses.dataclass(frozen=True, slots=True)
class Knob:
    """The option that is turned, and the values between which it is."""

    name: str
    within: Range


def parse_knob(text: str) -> Knob:
    """Return the knob that NAME=LOW:HIGH stands for; raises UsageError for anything else."""
    name, equals, ends = text.partition("=")
    if not equals or not name:
        msg = f"--knob {text}: expected NAME=LOW:HIGH, e.g. steps=4:64"
        raise UsageError(msg)
    return Knob(name, parse_range(ends, f"--knob {text}"))


def parse_budget(text: str) -> float:
    """Return the seconds that "90s", "20m" or "1.5h" stand for; raises UsageError for others."""
    unit = UNITS.get(text[-1:])
    try:
        seconds = float(text[:-1]) * unit if unit else 0.0
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        msg = f"--budget {text}: expected a time such as 90s, 20m or 1.5h"
        raise UsageError(msg)
    return seconds


def show(
    request: Request, knob: Knob, seconds: float, settings: Settings, figure: Path | None
) -> Exit:
    """Measure and print; 5 where no two values of the knob were measured."""
    check(request, knob, figure)
    quiet = dataclasses.replace(settings, as_json=False)
    found = explored(request, knob, seconds, quiet)
    if found is None:
        return Exit.INTERRUPTED
    records, reason = found
    curve = curve_of(records, knob.name)
    if curve is None:
        print(f"no curve: fewer than two values of {knob.name}: {reason}", file=sys.stderr)
        if settings.as_json:
            print(json.dumps({"knob": knob.name, "stopped": reason, "points": []}, indent=1))
        else:
            measuring.show(records, settings)
        return Exit.NOTHING_MEASURED
    print(f"{counted(len(curve.rows), 'value')} of {knob.name}: {reason}", file=sys.stderr)
    if settings.as_json:
        print(json.dumps(document(curve, reason), indent=1))
    else:
        measuring.show(records, settings)
    if figure is not None:
        write(curve.rows, figure)
    return measuring.exit_code(records)


def check(request: Request, knob: Knob, figure: Path | None) -> None:
    """Raise UsageError for what gives no single curve, before anything is measured."""
    if not request.model:
        msg = "give --model NAME: the model whose knob is turned"
        raise UsageError(msg)
    several = {
        "model": len(model_names(request.model)) > 1,
        "res": len(parse_sizes(request.res)) > 1,
        "batch": not request.batch.isdecimal(),
        "dtype": "," in request.dtype,
        "mode": "," in request.mode,
        "sweep": bool(request.sweep),
    }
    for flag in (name for name, many in several.items() if many):
        msg = f"--{flag}: a frontier is one curve; give a single value, or use run --sweep"
        raise UsageError(msg)
    if any(text.partition("=")[0] == knob.name for text in request.option):
        msg = f"--option {knob.name}: it is the knob; leave it out"
        raise UsageError(msg)
    if not {"speed", "quality"} <= set(request.measure.split(",")):
        msg = (
            f"--measure {request.measure}: a frontier is of speed and quality; add what is missing"
        )
        raise UsageError(msg)
    check_figure(figure)


def explored(
    request: Request, knob: Knob, budget: float, settings: Settings
) -> tuple[list[Record], str] | None:
    """Return the records of the values that were measured, and why no more; None if interrupted."""
    start, longest = time.monotonic(), 0.0
    records: dict[tuple[str, int], Record] = {}
    waiting = first_values(knob.within)
    for _ in range(MOST):
        value = waiting.pop(0) if waiting else next_value(points_of(records, knob), knob.within)
        if value is None:
            return list(records.values()), "no gap is left in which distances clearly differ"
        spent = time.monotonic() - start
        if spent + longest > budget:
            told = f"the next would not fit the budget of {clock(budget)}"
            return list(records.values()), told
        text = knob.within.text(value)
        print(f"{knob.name}={text} ({clock(spent)} of {clock(budget)})", file=sys.stderr)
        begin = time.monotonic()
        asked = dataclasses.replace(request, option=(*request.option, f"{knob.name}={text}"))
        done = measuring.carried_out([asked], settings, again=bool(records))
        if done is None:
            return None
        longest = max(longest, time.monotonic() - begin)
        records |= {(one.identity, one.trial): one for one in done.records}
        if len(points_of(records, knob)) == 0 and not waiting:
            return list(records.values()), "no value could be measured"
    return list(records.values()), f"{MOST} values, the most"


def points_of(records: dict[tuple[str, int], Record], knob: Knob) -> list[Point]:
    """Return the points measured so far, by time."""
    from sfbench.report.frontier_figure import points

    curve = curve_of(list(records.values()), knob.name)
    if curve is None:
        return []
    frame = curve.frame()
    return points(frame, "ms") if frame["ms"].notna().all() else []


def curve_of(records: Sequence[Record], knob: str) -> Curve | None:
    """Return the curve of these records, of which only the knob differs."""
    from sfbench.report import frame
    from sfbench.report.frontier_figure import curves
    from sfbench.report.measurements import measurements
    from sfbench.report.pairing import paired

    rows = paired(frame.summary(measurements(records)))
    return next((curve for curve in curves(rows) if curve.knob == knob), None)


def document(curve: Curve, reason: str) -> dict[str, Any]:
    """Return the curve as JSON: one point per value, and whether another value beats it."""
    from sfbench.report.frontier_figure import points
    from sfbench.values.frontier import on_front

    frame = curve.frame()
    front = on_front(points(frame, "ms"))
    return {
        "model": curve.label,
        "knob": curve.knob,
        "metric": curve.metric,
        "stopped": reason,
        "points": [
            {
                "value": row["value"],
                "distance": row["distance"],
                "low": row["low"],
                "high": row["high"],
                "milliseconds_per_image": row["ms"],
                "peak_mib": row.get("MiB"),
                "on_the_front_of_time": on,
            }
            for (_, row), on in zip(frame.iterrows(), front, strict=True)
        ],
    }


def write(rows: Any, figure: Path) -> None:
    """Write the figure."""
    from sfbench.report.figure import Look
    from sfbench.report.figure_files import write_chart
    from sfbench.report.frontier_figure import frontier

    made = frontier(rows, Look.of(rows))
    if made is not None:
        write_chart(made.chart, figure)
        print(f"figure: {figure}", file=sys.stderr)
