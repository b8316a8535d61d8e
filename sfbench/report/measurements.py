"""Records as two flat frames, one row per record and one per reading, as tables need them."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from sfbench.store.runs import origin_of
from sfbench.values.case import COLUMNS, SETTINGS
from sfbench.values.records import Reading, Record

CASE = (
    *COLUMNS,
    "weights",
    "weights_sha256",
    "options",
    "quality",
    "machine",
    "origin",
    "identity",
)
"""What identifies a row: the case, its badges, and where quality was measured."""
HEAD = (*CASE, "case_key", "trial", "attempt", "status", "reason", "flags", "started", "settings")
BODY = ("record", "metric", "value", "low", "high", "unit", "reason")
NUMBERS = ("value", "low", "high")


@dataclasses.dataclass(frozen=True, slots=True)
class Measurements:
    """`heads`: one row per record, columns `HEAD`; `readings`: one row per reading, columns `BODY`.

    A reading's `record` is the position of its record in `heads`.
    """

    heads: pd.DataFrame
    readings: pd.DataFrame

    def __len__(self) -> int:
        """Return the number of records."""
        return len(self.heads)

    def of(self, places: np.ndarray) -> Measurements:
        """Return the records at these positions, in that order, with their readings."""
        new = np.full(len(self.heads), -1)
        new[places] = np.arange(len(places))
        record = new[self.readings["record"].to_numpy()]
        kept = self.readings[record >= 0].assign(record=record[record >= 0])
        return Measurements(
            self.heads.iloc[places].reset_index(drop=True),
            kept.sort_values("record", kind="stable").reset_index(drop=True),
        )


def measurements(records: Iterable[Record]) -> Measurements:
    """Return the frames of these records, in their order."""
    heads: list[list[Any]] = []
    readings: list[tuple[Any, ...]] = []
    for place, record in enumerate(records):
        heads.append(list(head(record).values()))
        readings.extend(
            (place, one.metric, one.value, one.low, one.high, one.unit, one.reason)
            for one in record.readings
        )
    body = pd.DataFrame(readings, columns=list(BODY))
    return Measurements(
        pd.DataFrame(heads, columns=list(HEAD)),
        body.astype({"record": int} | dict.fromkeys(NUMBERS, float)),
    )


def head(record: Record) -> dict[str, Any]:
    """Return a record's row, in the order of `HEAD`."""
    case = record.case
    weights = weights_of(record)
    options = ", ".join(f"{k}={v}" for k, v in sorted(case["options"].items()) if v)
    return {name: case.get(name) for name in COLUMNS} | {
        "weights": weights["kind"],
        "weights_sha256": weights["sha256"],
        "options": options,
        "quality": basis(record.readings),
        "machine": record.machine,
        "origin": origin_of(record.identity),
        "identity": record.identity,
        "case_key": record.case_key,
        "trial": record.trial,
        "attempt": record.attempt,
        "status": record.status,
        "reason": record.reason,
        "flags": " ".join(record.flags),
        "started": record.started,
        "settings": json.dumps(settings(case)),
    }


def weights_of(record: Record) -> Mapping[str, Any]:
    """Return where the weights of a record come from, and their digest.

    Weights that a plugin loaded by itself are of a file, too: only what the seed decides is random.
    """
    stated: Mapping[str, Any] = record.case["weights"]
    loaded = record.provenance.get("weights_loaded_by_plugin")
    if stated["kind"] == "random" and isinstance(loaded, str):
        return {"kind": "file", "sha256": loaded}
    return stated


def basis(readings: Iterable[Reading]) -> str:
    """Return the basis of quality numbers: equal text means comparable numbers."""
    for reading in readings:
        if "extractor" not in reading.how:
            continue
        # `how` is free text to a record of others: what is not as it should be says nothing.
        with contextlib.suppress(KeyError, TypeError, IndexError, AttributeError):
            how = reading.how
            name, content = how["reference"]["name"], how["reference"]["sha256"]
            label = f"{name} ({content[:8]})" if content else name
            told = str(how.get("labels", "none"))
            labels = "" if told.startswith("none") else f", labels {told}"
            return (
                f"{how['extractor']['name']}, {how['generated']} generated, "
                f"{how['real']} real of {label}{labels}"
            )
    return ""


def settings(case: Mapping[str, Any]) -> dict[str, str]:
    """Return the options of a case's model and its settings, as text.

    A file or folder is identified by the first eight digits of its content's digest.
    """
    options = {
        name: value[:8] if isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) else value
        for name, value in case["options"].items()
    }
    own = {name: case[name] for name in SETTINGS if name in case}
    found = {**options, **own, **case.get("timing", {})}
    digest = case["weights"].get("sha256") if isinstance(case["weights"], Mapping) else None
    if digest:
        found["weights"] = str(digest)[:8]
    return {name: str(found[name]) for name in sorted(found)}
