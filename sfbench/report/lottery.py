"""The spread of quality over training and over evaluations, as tables and as a document."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sfbench.report.numbers import number
from sfbench.report.variance import (
    Components,
    Spread,
    components,
    least_of,
    runs_needed,
    trained_difference,
)
from sfbench.store.lotteries import Lottery
from sfbench.values.messages import counted

DIFFERENCES = (0.01, 0.02, 0.05, 0.1, 0.2)
"""Relative differences of two models, for the table of runs that they need."""
MOST_RUNS = 1000


def table(found: Sequence[Lottery]) -> RenderableType:
    """Return the tables for a terminal of 80 columns."""
    parts: list[RenderableType] = [spreads(found)]
    for a, b in itertools.combinations(found, 2):
        if a["metric"] == b["metric"]:
            parts += [Text(), Text(verdict(a, b), style="bold")]
    for pair in pairs(found):
        parts += [Text(), needed(*pair)]
    return Group(*parts, *(Text(line) for line in notes(found)))


def spreads(found: Sequence[Lottery]) -> Table:
    """Return mean and standard deviations of each model."""
    shown = grid("model and metric", "mean", "sd of training", "sd of evaluation", "ratio")
    for one in found:
        spread = components(one["values"])
        ratio = spread.between.value / spread.within.value if spread.within.value else None
        shown.add_row(
            Text(f"{one['model']}\n  {one['metric']}"),
            f"{number(spread.mean)}\n{between(spread.low, spread.high)}",
            told(spread.between),
            told(spread.within),
            number(ratio, 2),
        )
    return shown


def grid(*names: str) -> Table:
    """Return an empty table; all columns but the first are numbers."""
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    shown.add_column(names[0], overflow="fold")
    for name in names[1:]:
        shown.add_column(name, justify="right", no_wrap=True)
    return shown


def told(spread: Spread) -> str:
    """Return a standard deviation and, below it, its interval."""
    return f"{number(spread.value)}\n{between(spread.low, spread.high)}"


def between(low: float, high: float) -> str:
    """Return an interval."""
    return f"[{number(low)}, {number(high)}]"


def pairs(found: Sequence[Lottery]) -> Iterator[tuple[Lottery, Lottery]]:
    """Yield what is to be told apart: two models; one model from another one like it."""
    if len(found) == 1:
        yield found[0], found[0]
    for a, b in itertools.combinations(found, 2):
        if a["metric"] == b["metric"]:
            yield a, b


def needed(a: Lottery, b: Lottery) -> Table:
    """Return how many training seeds of each model tell them apart, by their difference."""
    alike = a is b
    title = f"from another like it: {a['model']}" if alike else f"{a['model']}, {b['model']}"
    shown = grid(f"difference ({title})", "training seeds of each")
    sides = components(a["values"]), components(b["values"])
    for share, change in differences(*sides, alike=alike):
        count = runs_needed(*sides, change, MOST_RUNS)
        shown.add_row(
            f"{number(change)} ({share})", f"over {MOST_RUNS}" if count is None else str(count)
        )
    return shown


def differences(a: Components, b: Components, *, alike: bool) -> Iterator[tuple[str, float]]:
    """Yield differences in words and in the metric's unit: shares of A's mean, and the observed one."""
    for share in DIFFERENCES:
        yield f"{100 * share:g} %", share * abs(a.mean)
    if not alike:
        yield "as observed", abs(b.mean - a.mean)


def verdict(a: Lottery, b: Lottery) -> str:
    """Return which model is better over retraining, in one line."""
    change = trained_difference(components(a["values"]), components(b["values"]))
    interval = f"{number(change.change)} {between(change.low, change.high)}, p {change.p:.3f}"
    if not change.certain:
        return f"{a['model']} and {b['model']} cannot be told apart over retraining: {interval}"
    better = a["model"] if change.change > 0 else b["model"]
    return f"{better} is better, retraining included: B - A = {interval}"


def notes(found: Sequence[Lottery]) -> Iterator[str]:
    """Yield what the numbers rest on, and what the best of several would hide."""
    for one in found:
        spread = components(one["values"])
        runs, each = len(one["values"]), len(one["values"][0])
        yield (
            f"{one['model']}: {counted(runs, 'run')} of {one['kimg']:g} kimg (preset "
            f"{one['preset']}), {counted(each, 'evaluation')} of {one['samples']:,} images each"
        )
        yield (
            f"  the best of {each} evaluations of one run would be "
            f"{number(least_of(each) * spread.within.value)} too low; the best of {runs} runs is "
            f"{number(least_of(runs) * spread.between.value)} below a run trained once more"
        )


def document(found: Sequence[Lottery]) -> dict[str, Any]:
    """Return everything as JSON values."""
    compared = []
    for a, b in itertools.combinations(found, 2):
        if a["metric"] == b["metric"]:
            sides = components(a["values"]), components(b["values"])
            compared.append(
                {"a": a["model"], "b": b["model"], **dataclasses.asdict(trained_difference(*sides))}
                | {"training_seeds": seeds_for(*sides, alike=False)}
            )
    alone = []
    for one in found:
        spread = components(one["values"])
        alone.append(dict(one) | {"training_seeds": seeds_for(spread, spread, alike=True)})
    return {"models": alone, "differences": compared}


def seeds_for(a: Components, b: Components, *, alike: bool) -> list[dict[str, Any]]:
    """Return the runs that differences need."""
    return [
        {"difference": change, "runs": runs_needed(a, b, change, MOST_RUNS)}
        for _, change in differences(a, b, alike=alike)
    ]
