"""What a page says of each case below its tables: command, phases, blocks, memory, provenance."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

import pandas as pd

from sfbench.report.machines import processor_of
from sfbench.report.numbers import number
from sfbench.report.pairing import joined_case
from sfbench.report.row_text import badges
from sfbench.values.case import request_of
from sfbench.values.metric import MEBI
from sfbench.values.metric_names import CORE
from sfbench.values.records import Reading, Record, plugin_file
from sfbench.values.sizes import size_of

DIGITS, PAIR = 4, 2
BLOCKS_WIDTH, BLOCKS_HEIGHT = 240, 36
MOST_WITH_READINGS = 60
"""Rows of a page up to which every reading is listed; the numbers are in its data in any case."""


def command(row: Any, newest: Mapping[str, Record], defaults: Mapping[str, Any]) -> str:
    """Return the command that reproduces a row."""
    judged = newest.get(row.get("quality_identity"))
    case = joined_case(newest[row["identity"]].case, None if judged is None else judged.case)
    file = plugin_file(newest[row["identity"]])
    given = "" if file is None else f" --plugin {shlex.quote(file)}"
    return request_of(case, defaults).command() + given


def details(
    rows: pd.DataFrame,
    newest: Mapping[str, Record],
    options: Mapping[str, Mapping[str, Any]],
    anchors: Mapping[object, str],
) -> list[dict[str, Any]]:
    """Return the details of every row, in the order of the tables."""
    listed = len(rows) <= MOST_WITH_READINGS
    return [
        {
            "anchor": anchors[index],
            "title": f"{row['model']} {size_of(row)} px",
            "how": f"{badges(row)} {row['variant']}".strip(),
            "model": row["model"],
            "resolution": str(size_of(row)),
            "dtype": row["dtype"],
            "command": command(row, newest, options.get(row["model"], {})),
            "parts": [part(one, readings=listed) for one in records_of(row, newest)],
        }
        for index, row in rows.iterrows()
    ]


def records_of(row: Any, newest: Mapping[str, Record]) -> list[Record]:
    """Return the records behind a row: of speed and memory, then of quality, if they are two."""
    names = dict.fromkeys((row["identity"], row.get("quality_identity")))
    return [newest[name] for name in names if isinstance(name, str) and name in newest]


def part(record: Record, *, readings: bool) -> dict[str, Any]:
    """Return what one record says of how it was made; of a repeated case, the last trial."""
    return {
        "title": ", ".join(record.case.get("measure", ())) or "measured",
        "phases": phases(record),
        "blocks": blocks(record),
        "memory": memory(record),
        "facts": facts(record),
        "readings": [reading(one) for one in record.readings] if readings else [],
    }


def phases(record: Record) -> dict[str, Any] | None:
    """Return the seconds of each phase, with their share of the whole; None for older records."""
    stored = record.provenance.get("phase_seconds")
    known = [
        (str(pair[0]), float(pair[1]))
        for pair in (stored if isinstance(stored, list | tuple) else ())
        if isinstance(pair, list | tuple) and len(pair) == PAIR and isinstance(pair[1], int | float)
    ]
    whole = sum(seconds for _, seconds in known)
    if whole <= 0:
        return None
    return {
        "whole": number(whole),
        "items": [
            {"name": name, "seconds": number(seconds), "share": f"{100 * seconds / whole:.2f}"}
            for name, seconds in known
        ],
    }


def blocks(record: Record) -> dict[str, Any] | None:
    """Return the rates of the throughput's blocks, as points of a small line."""
    found = next(
        (one for one in record.readings if one.metric == CORE and len(one.samples) > 1), None
    )
    if found is None:
        return None
    low, high = min(found.samples), max(found.samples)
    span = high - low or 1.0
    step = BLOCKS_WIDTH / (len(found.samples) - 1)
    points = " ".join(
        f"{place * step:.1f},{BLOCKS_HEIGHT - 3 - (value - low) / span * (BLOCKS_HEIGHT - 6):.1f}"
        for place, value in enumerate(found.samples)
    )
    told = f"{len(found.samples)} blocks, {number(low, DIGITS)} to {number(high, DIGITS)} images/s"
    return {"points": points, "text": told, "width": BLOCKS_WIDTH, "height": BLOCKS_HEIGHT}


def memory(record: Record) -> list[tuple[str, str]]:
    """Return the host's peak in every phase, and what was read of memory, in MiB."""
    found = [
        (one.metric, f"{number(one.value / MEBI, DIGITS)} MiB")
        for one in record.readings
        if one.unit == "bytes" and one.value is not None
    ]
    stored = record.provenance.get("host_peak_by_phase")
    peaks = stored.items() if isinstance(stored, Mapping) else ()
    found += [
        (f"host peak during {name}", f"{number(peak / MEBI, DIGITS)} MiB")
        for name, peak in peaks
        if isinstance(peak, int | float)
    ]
    return found


def facts(record: Record) -> list[tuple[str, str]]:
    """Return when, where and by which code a record was made."""
    machine: Mapping[str, Any] = record.provenance.get("machine") or {}
    case = record.case
    weights = case["weights"]
    versions: Mapping[str, Any] = machine.get("versions") or {}
    found = {
        "started": record.started,
        "seconds": number(record.seconds, DIGITS),
        "machine": f"{record.machine} ({processor_of(record) or 'unknown processor'})",
        "threads": case.get("threads"),
        "weights": f"{weights['kind']} {weights.get('sha256') or ''}".strip(),
        "options": ", ".join(
            f"{k}={v}" for k, v in sorted(case["options"].items()) if v is not None
        ),
        "seed": case.get("seed"),
        "commit": record.provenance.get("commit"),
        "torch": versions.get("torch"),
        "identity": record.identity,
        "trials": f"trial {record.trial + 1}, attempt {record.attempt + 1}",
        "flags": " ".join(record.flags),
        "fallback kernels": ", ".join(record.provenance.get("stand_in_kernels") or ()),
    }
    return [(name, str(value)) for name, value in found.items() if value not in (None, "", "none")]


def reading(one: Reading) -> dict[str, str]:
    """Return a reading as the cells of a row."""
    bounds = ""
    if one.low is not None and one.high is not None:
        bounds = f"[{number(one.low, DIGITS)}, {number(one.high, DIGITS)}]"
    value = one.reason if one.value is None else number(one.value, DIGITS)
    return {"metric": one.metric, "value": str(value), "interval": bounds, "unit": one.unit}


def anchors_of(rows: pd.DataFrame) -> dict[object, str]:
    """Return a name for each row, by which a link finds its details."""
    return {index: f"case-{place}" for place, index in enumerate(rows.index, 1)}


def commands_by_identity(
    rows: pd.DataFrame,
    newest: Mapping[str, Record],
    options: Mapping[str, Mapping[str, Any]],
) -> dict[str, str]:
    """Return the command of each row by its identity, for the tooltips of figures."""
    return {
        str(row["identity"]): command(row, newest, options.get(row["model"], {}))
        for _, row in rows.iterrows()
    }
