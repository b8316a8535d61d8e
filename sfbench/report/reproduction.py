"""Measured beside published values: one row per published number, with a verdict."""

from __future__ import annotations

import dataclasses
import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sfbench.quality.influences import NORMAL_95
from sfbench.report.beside import spread_of
from sfbench.report.numbers import number
from sfbench.store.lotteries import read_lottery
from sfbench.values.metric_names import CORE, FID
from sfbench.values.metrics import find_metric, is_distance, of_family
from sfbench.values.records import Reading, Record
from sfbench.values.sizes import size_of

Verdict = Literal["agrees", "higher", "lower", "no verdict", "not run", "measured"]
WIDTH = 79
COLUMNS = (
    "row", "case", "metric", "published", "measured", "low", "high", "difference", "verdict", "reason",
)  # fmt: skip
ALL_IMAGES = 50_000
"""The number of images behind published distances."""
RETRAINING_UNKNOWN = "how much training again moves it is not known (sfbench lottery)"
NEITHER = "neither speed nor a distance; sfbench report shows what was measured"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A row of a suite: its title, what was published, what it lacks, and its records."""

    title: str
    published: Mapping[str, float]
    lacks: Sequence[str]
    records: Sequence[Record]
    store: Path | None = None
    """Where the variance over training is known from, if it is."""


def frame(rows: Sequence[Wanted]) -> pd.DataFrame:
    """Return columns row, case, metric, published, measured, low, high, difference, verdict, reason."""
    return pd.DataFrame([one for row in rows for one in lines(row)], columns=list(COLUMNS))


def lines(row: Wanted) -> Iterator[dict[str, Any]]:
    """Yield one line per published number of every record, or one that says why there is none."""
    if row.lacks or not row.records:
        reason = f"needs {'; '.join(row.lacks)}" if row.lacks else "nothing was measured"
        for metric, published in (row.published or {"": float("nan")}).items():
            yield line(row.title, "", metric, published, None, "not run", reason)
        return
    for record in row.records:
        case = f"{record.case['model']} {size_of(record.case)}px"
        if record.status != "ok":
            yield line(row.title, case, "", None, None, "not run", record.reason or record.status)
            continue
        for metric, published in row.published.items():
            yield judged(row.title, case, metric, published, record, row.store)
        if not row.published:
            shown_any = False
            for reading in record.readings:
                shown = reading.metric == CORE or is_distance(reading.metric)
                if shown and reading.value is not None:
                    shown_any = True
                    yield line(row.title, case, reading.metric, None, reading, "measured", "")
            if not shown_any:
                yield line(row.title, case, "", None, None, "measured", NEITHER)


def judged(
    title: str, case: str, metric: str, published: float, record: Record, store: Path | None = None
) -> dict[str, Any]:
    """Return a published number beside the measured one of the same name, if there is one."""
    found = next((r for r in record.readings if r.metric == metric), None)
    if found is None or found.value is None:
        return unmeasured(title, case, metric, published, record, found)
    samples = int(record.case.get("samples") or 0)
    if of_family(metric, "quality") and samples < ALL_IMAGES:
        reason = f"measured with {samples:,} images, published with {ALL_IMAGES:,}"
        return line(title, case, metric, published, found, "no verdict", reason)
    if found.low is None or found.high is None:
        return line(title, case, metric, published, found, "no verdict", "no interval")
    if found.low <= published <= found.high:
        return line(title, case, metric, published, found, "agrees", "")
    word: Verdict = "higher" if found.value > published else "lower"
    reason = ""
    if is_distance(metric) and store is not None:
        half = half_width_of_training(record, found, store)
        if half is None:
            reason = RETRAINING_UNKNOWN
        elif abs(found.value - published) <= half:
            word = "agrees"
            reason = f"within what training again moves it: {number(half)} (sfbench lottery)"
    return line(title, case, metric, published, found, word, reason)


def unmeasured(  # a line's parts
    title: str,
    case: str,
    metric: str,
    published: float,
    record: Record,
    found: Reading | None,
) -> dict[str, Any]:
    """Return the line of a published number that was not measured, and why."""
    other = next((r for r in record.readings if is_distance(r.metric)), None)
    reason = f"no {metric} was measured"
    declared = find_metric(metric)
    if declared is not None and declared.inception:
        reason = f"no {metric}: it needs Inception-v3 with the published weights"
    if found is not None:
        reason = f"no {metric}: {found.reason}"
    if other is not None and other.value is not None and metric == FID:
        reason += f"; {other.metric} is {number(other.value)}, a different metric"
    return line(title, case, metric, published, None, "not run", reason)


def half_width_of_training(record: Record, found: Reading, store: Path) -> float | None:
    """Return half the 95 % interval of a value over images and training; None if not known."""
    spread = spread_of(read_lottery(store, record.case, found.metric), found.value or 0.0)
    if spread is None:
        return None
    return math.hypot(NORMAL_95 * spread, ((found.high or 0.0) - (found.low or 0.0)) / 2)


def line(
    title: str,
    case: str,
    metric: str,
    published: float | None,
    found: Reading | None,
    verdict: Verdict,
    reason: str,
) -> dict[str, Any]:
    """Return a line of the frame."""
    value = None if found is None else found.value
    difference = None if value is None or published is None else value - published
    return {
        "row": title,
        "case": case,
        "metric": metric,
        "published": published,
        "measured": value,
        "low": None if found is None else found.low,
        "high": None if found is None else found.high,
        "difference": difference,
        "verdict": verdict,
        "reason": reason,
    }


def table(found: pd.DataFrame, title: str) -> RenderableType:
    """Return the frame for a terminal of 80 columns, and below it a reason for every open row."""
    shown = Table(
        title=title, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False, padding=(0, 1, 0, 0)
    )
    compared = found["published"].notna().any()
    shown.add_column("row", overflow="fold")
    shown.add_column("metric", no_wrap=True)
    names = ("published", "measured", "difference") if compared else ("measured",)
    for name in names:
        shown.add_column(name, justify="right", no_wrap=True)
    shown.add_column("verdict", no_wrap=True)
    before = ("", "")
    for row in found.to_dict("records"):
        interval = ""
        if row["low"] is not None and pd.notna(row["low"]):
            interval = f"\n[{number(row['low'])}, {number(row['high'])}]"
        title = "" if row["row"] == before[0] else row["row"]
        if row["case"] and (row["row"], row["case"]) != before:
            title += f"{chr(10) if title else ''}  {row['case']}"
        # Text: the brackets of a metric's name are no markup.
        shown.add_row(
            Text(title),
            Text(row["metric"]),
            *([number(row["published"])] if compared else []),
            Text(f"{number(row['measured'])}{interval}"),
            *([signed(row["difference"])] if compared else []),
            row["verdict"],
        )
        before = row["row"], row["case"]
    return Group(shown, *(Text(line) for line in reasons(found)))


def signed(value: Any) -> str:
    """Return a difference with its sign, or a dash."""
    text = number(value)
    return f"+{text}" if value is not None and pd.notna(value) and value > 0 else text


def reasons(found: pd.DataFrame) -> Iterator[str]:
    """Yield why rows are open, each reason once, in lines of at most 79 columns."""
    open_ = found[found["reason"].astype(bool)]
    for (row, reason), part in open_.groupby(["row", "reason"], sort=False):
        metrics = ", ".join(filter(None, dict.fromkeys(part["metric"])))
        yield f"{row}{f' ({metrics})' if metrics else ''}: {part['verdict'].iloc[0]}"
        for piece in str(reason).split("; "):
            # A flag and its value stay on one line, to be copied.
            yield from textwrap.wrap(
                piece, WIDTH, initial_indent="  ", subsequent_indent="    ",
                break_long_words=False, break_on_hyphens=False,
            )  # fmt: skip
