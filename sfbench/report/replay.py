"""A stored trial beside its repetition: equal values compared exactly, times by margin.

A machine that became faster, or needs less memory, breaks no promise: that is "better", not
"different".
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Sequence
from typing import Literal

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sfbench.report.numbers import number
from sfbench.values.metric import FAMILIES, Family
from sfbench.values.metrics import find_metric
from sfbench.values.records import Reading, Record

QUALITY_TOLERANCE = 1e-4
"""Relative: kernels of another thread count or processor round differently."""
MARGIN = 0.10
"""For a single process's speed and memory, in addition to the intervals of its blocks."""


Verdict = Literal["same", "better", "different"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ReplayRow:
    """One metric then and now, the verdict, and the rule it was reached by."""

    metric: str
    stored: float
    fresh: float | None
    verdict: Verdict
    rule: str


def rows(stored: Record, fresh: Record, families: Collection[Family] = FAMILIES) -> list[ReplayRow]:
    """Return a row per stored value of these families that has a rule.

    A value that is not measured any more is different.
    """
    now = {reading.metric: reading for reading in fresh.readings}
    found = []
    for reading in stored.readings:
        if reading.value is None or not has_rule(reading) or family_of(reading) not in families:
            continue
        other = now.get(reading.metric)
        value = None if other is None else other.value
        verdict: Verdict = "different"
        rule = "measured both times"
        if other is not None and value is not None:
            verdict, rule = judged(reading, other)
        found.append(
            ReplayRow(
                metric=reading.metric,
                stored=reading.value,
                fresh=value,
                verdict=verdict,
                rule=rule,
            )
        )
    return found


def holds(stored: Record, fresh: Record, found: Sequence[ReplayRow]) -> bool:
    """Return whether the trial ended the same, with no value different, and at least one."""
    ended = stored.status == fresh.status
    kept = all(row.verdict != "different" for row in found)
    return ended and kept and (bool(found) or stored.status != "ok")


def family_of(reading: Reading) -> Family:
    """Return the family of a metric; what only a plugin's extractor declares is quality."""
    declared = find_metric(reading.metric)
    return "quality" if declared is None else declared.family


def has_rule(reading: Reading) -> bool:
    """Return whether there is a rule for the metric: there is none for one-time costs."""
    declared = find_metric(reading.metric)
    told = declared is not None and (declared.exact or declared.moment)
    return told or "extractor" in reading.how


def judged(stored: Reading, fresh: Reading) -> tuple[Verdict, str]:
    """Return whether two readings are the same, and by which rule."""
    a, b = stored.value or 0.0, fresh.value or 0.0
    declared = find_metric(stored.metric)
    if declared is not None and declared.exact:
        return same_if(a == b), "equal"
    if declared is not None and declared.moment:
        overlap = (
            None not in (stored.low, stored.high, fresh.low, fresh.high)
            and (stored.low or 0) <= (fresh.high or 0)
            and (fresh.low or 0) <= (stored.high or 0)
        )
        close = b > 0 and a > 0 and abs(math.log(b / a)) <= math.log1p(MARGIN)
        improved = (b > a) == (declared.better == "higher") and declared.better is not None
        rule = f"within {MARGIN:.0%}, or intervals overlap, or better"
        return "better" if improved and not close and not overlap else same_if(
            close or overlap
        ), rule
    scale = max(abs(a), abs(b), 1e-12)
    return same_if(abs(a - b) / scale <= QUALITY_TOLERANCE), f"within {QUALITY_TOLERANCE:.0e}"


def same_if(condition: bool) -> Verdict:  # noqa: FBT001  # the condition is all there is
    """Return "same" where a condition holds."""
    return "same" if condition else "different"


def changes(stored: Record, fresh: Record) -> list[str]:
    """Return what changed beside the values: status, machine, versions, code."""
    lines = []
    if stored.status != fresh.status:
        lines.append(f"status {stored.status} -> {fresh.status}: {fresh.reason}")
    if stored.machine != fresh.machine:
        lines.append(f"machine {stored.machine} -> {fresh.machine}")
    then, now = (r.provenance.get("machine", {}).get("versions", {}) for r in (stored, fresh))
    lines += [
        f"{name} {then.get(name)} -> {now.get(name)}"
        for name in sorted({*then, *now})
        if then.get(name) != now.get(name)
    ]
    if not lines and stored.identity != fresh.identity:
        lines.append("the code of the harness or the model, or the environment, has changed")
    return lines


def table(
    stored: Record, fresh: Record, found: Sequence[ReplayRow], around: Sequence[str]
) -> RenderableType:
    """Return the rows for a terminal of 80 columns, and what has changed around them."""
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    grid.add_column("metric", overflow="fold")
    for name in ("stored", "now"):
        grid.add_column(name, justify="right", no_wrap=True)
    grid.add_column("", no_wrap=True)
    for row in found:
        grid.add_row(row.metric, number(row.stored, 4), number(row.fresh, 4), row.verdict)
    same = holds(stored, fresh, found)
    verdict = f"{'same' if same else 'different'}: {len(found)} metrics compared"
    return Group(grid, Text(verdict, style="bold"), *(Text(f"! {line}") for line in around))
