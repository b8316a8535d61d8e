"""The record of a trial: readings, a status, and provenance. Values and JSON only."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any, Literal

SCHEMA = 1
PROTOCOL = 1

Status = Literal[
    "ok",
    "oom",
    "error",
    "timeout",
    "killed",
    "nonfinite",
    "contract_failed",
    "unsupported",
    "skipped",
]
FINAL = frozenset({"ok", "oom", "nonfinite", "contract_failed", "unsupported", "skipped"})
"""Statuses that a repetition would not change; `error`, `killed` and `timeout` are retried."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One measured number, or None with a reason.

    `unit` is filled in from the metric's declaration when a record is made (see `values.metrics`).
    `low` and `high` bound it (95 % unless `how` says otherwise); `samples` are the values behind
    it (blocks, calls); `how` says how it was made.
    """

    metric: str
    unit: str = ""
    value: float | None = None
    reason: str | None = None
    low: float | None = None
    high: float | None = None
    samples: tuple[float, ...] = ()
    how: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise ValueError for a missing value without a reason, or a value that is not finite."""
        if (self.value is None) == (self.reason is None):
            msg = f"reading {self.metric}: give a value, or None with a reason"
            raise ValueError(msg)
        if self.value is not None and not math.isfinite(self.value):
            msg = f"reading {self.metric}: {self.value} is not finite"
            raise ValueError(msg)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One trial's document: the request (`case`), the results, the provenance."""

    identity: str
    case_key: str
    case: Mapping[str, Any]
    trial: int
    attempt: int
    status: Status
    reason: str | None = None
    readings: tuple[Reading, ...] = ()
    flags: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    machine: str = ""
    started: str = ""
    seconds: float = 0.0
    schema: int = SCHEMA
    protocol: int = PROTOCOL


def canonical(value: Any) -> str:
    """Return strict JSON text with sorted keys: equal values give equal text."""
    return json.dumps(value, sort_keys=True, allow_nan=False, ensure_ascii=False)


def digest(value: Any) -> str:
    """Return the SHA-256 of a value's canonical JSON."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def record_to_json(record: Record) -> str:
    """Return the record as one JSON document, readable by people."""
    document = dataclasses.asdict(record)
    return json.dumps(document, sort_keys=True, allow_nan=False, ensure_ascii=False, indent=1)


def record_from_json(text: str) -> Record:
    """Return the record; raises ValueError for text that is not one (or of a newer schema)."""
    document = json.loads(text)
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        found = document.get("schema") if isinstance(document, dict) else type(document).__name__
        msg = f"expected record schema {SCHEMA}, found {found}"
        raise ValueError(msg)
    try:
        readings = tuple(reading_from(entry) for entry in document.pop("readings"))
        flags = tuple(document.pop("flags"))
        return Record(readings=readings, flags=flags, **document)
    except (TypeError, KeyError, AttributeError) as error:
        msg = f"not a record ({error})"
        raise ValueError(msg) from None


def reading_from(entry: Mapping[str, Any]) -> Reading:
    """Return the reading that a JSON object holds."""
    return Reading(**{**entry, "samples": tuple(entry.get("samples", ()))})
