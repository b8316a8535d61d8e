"""Records as pandas frames: one tidy row a number, then one row a case."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
from scipy import stats

from sfbench.records import Reading, Record, is_distance

COVERAGE = 0.95
CASE_COLUMNS = ("model", "resolution", "batch", "dtype", "mode", "device", "seed", "threads")
MODEL_ORDER = ("quality", "model", "resolution", "batch", "dtype", "mode")


def current(records: Sequence[Record]) -> tuple[list[Record], int]:
    """Return the newest records of each case and machine, and how many older ones are left out.

    Older: another identity (the code, a package or the environment has changed since), or an
    earlier attempt.
    """
    newest: dict[tuple[str, str], Record] = {}
    for record in records:
        key = (record.case_key, record.machine)
        if key not in newest or record.started >= newest[key].started:
            newest[key] = record
    kept: dict[tuple[str, int], Record] = {}
    for record in records:
        if newest[record.case_key, record.machine].identity == record.identity:
            place = (record.identity, record.trial)
            if place not in kept or record.attempt >= kept[place].attempt:
                kept[place] = record
    return list(kept.values()), len(records) - len(kept)


def tidy(records: Iterable[Record]) -> pd.DataFrame:
    """Return one row a number: the case's columns, trial, status, metric, value, bounds, unit."""
    rows = [
        case_columns(record)
        | {
            "trial": record.trial,
            "metric": reading.metric,
            "value": reading.value,
            "low": reading.low,
            "high": reading.high,
            "unit": reading.unit,
            "reason": reading.reason,
        }
        for record in records
        for reading in record.readings
    ]
    return pd.DataFrame(rows)


def case_columns(record: Record) -> dict[str, Any]:
    """Return what identifies a row: the case, its badges, and where quality was measured."""
    case = record.case
    weights = case["weights"]
    return {name: case[name] for name in CASE_COLUMNS} | {
        "weights": weights["kind"],
        "weights_sha256": weights["sha256"],
        "options": ", ".join(f"{k}={v}" for k, v in sorted(case["options"].items()) if v),
        "quality": basis(record),
        "machine": record.machine,
        "identity": record.identity,
    }


def basis(record: Record) -> str:
    """Return what the quality numbers of a record rest on: equal text means comparable numbers."""
    for reading in record.readings:
        if "extractor" in reading.how:
            how = reading.how
            name, content = how["reference"]["name"], how["reference"]["sha256"]
            label = f"{name} ({content[:8]})" if content else name
            return (
                f"{how['extractor']['name']}, {how['generated']} generated, "
                f"{how['real']} real of {label}"
            )
    return ""


def summary(records: Sequence[Record]) -> pd.DataFrame:
    """Return one row a case: trials combined, each metric with its bounds, status and flags."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(record.identity, []).append(record)
    rows = [summary_row(group) for group in groups.values()]
    for row, variant in zip(rows, variants([group[0] for group in groups.values()]), strict=True):
        row["variant"] = variant
    frame = pd.DataFrame(rows)
    if frame.empty:
        return frame
    return frame.sort_values(list(MODEL_ORDER), kind="stable").reset_index(drop=True)


def settings(record: Record) -> dict[str, Any]:
    """Return the options of a record's model, its seed and its threads.

    A file or folder stands in a case by the digest of its content: eight digits tell it apart.
    """
    case = record.case
    options = {
        name: value[:8] if isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) else value
        for name, value in case["options"].items()
    }
    return {**options, "seed": case["seed"], "threads": case["threads"]}


def variants(records: Sequence[Record]) -> list[str]:
    """Return, a record, the options in which the records of its model differ."""
    values: dict[tuple[str, str], set[str]] = {}
    for record in records:
        for name, value in settings(record).items():
            values.setdefault((record.case["model"], name), set()).add(str(value))
    return [
        "; ".join(
            f"{name}={value}"
            for name, value in sorted(settings(record).items())
            if len(values[record.case["model"], name]) > 1
        )
        for record in records
    ]


def summary_row(group: Sequence[Record]) -> dict[str, Any]:
    """Return one case's row."""
    good = [record for record in group if record.status == "ok"] or list(group)
    row = case_columns(good[-1])
    bad = [record for record in group if record.status != "ok"]
    row |= {
        "trials": sum(record.status == "ok" for record in group),
        "status": bad[-1].status if bad else "ok",
        "reason": bad[-1].reason if bad else None,
        "flags": " ".join(dict.fromkeys(flag for record in group for flag in record.flags)),
        "started": group[-1].started,
    }
    readings: dict[str, list[Reading]] = {}
    for record in good:
        for reading in record.readings:
            readings.setdefault(reading.metric, []).append(reading)
    row["quality_reason"] = quality_reason(readings)
    for metric, found in sorted(readings.items()):
        combined = combine(found)
        row[metric] = combined.value
        if combined.low is not None:
            row[f"{metric}.low"], row[f"{metric}.high"] = combined.low, combined.high
    return row


def quality_reason(readings: Mapping[str, Sequence[Reading]]) -> str | None:
    """Return why there is no distance at all, where quality was asked for and there is none."""
    found = [one for name, of in readings.items() if is_distance(name) for one in of]
    if not found or any(reading.value is not None for reading in found):
        return None
    return found[-1].reason


@dataclasses.dataclass(frozen=True, slots=True)
class Estimate:
    """A value and its 95 % bounds, or None."""

    value: float | None
    low: float | None = None
    high: float | None = None


def combine(readings: Sequence[Reading]) -> Estimate:
    """Return the estimate over trials: geometric mean with a t interval on the log scale.

    One trial keeps its own bounds. Values that are not all positive are averaged plainly.
    """
    values = [reading.value for reading in readings if reading.value is not None]
    if not values:
        return Estimate(None)
    if len(values) == 1:
        only = next(reading for reading in readings if reading.value is not None)
        return Estimate(only.value, only.low, only.high)
    if min(values) == max(values):
        return Estimate(values[0])
    if min(values) <= 0:
        return Estimate(sum(values) / len(values))
    logs = [math.log(value) for value in values]
    mean = sum(logs) / len(logs)
    variance = sum((log - mean) ** 2 for log in logs) / (len(logs) - 1)
    margin = float(stats.t.ppf((1 + COVERAGE) / 2, len(logs) - 1)) * math.sqrt(variance / len(logs))
    return Estimate(math.exp(mean), math.exp(mean - margin), math.exp(mean + margin))
