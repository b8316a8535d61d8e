"""The record of a trial: readings, a status, and provenance. Values and JSON only."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Required, TypedDict

import msgspec

from sfbench.values.documents import as_document, read_document

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
MOST = 1e30
"""No unit has a measurement as large: what reads it would overflow."""
Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]
"""A whole number that every reader of JSON holds exactly."""
Number = int | float
"""A count stays one when a record is written again."""
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
    value: Number | None = None
    reason: str | None = None
    low: Number | None = None
    high: Number | None = None
    samples: tuple[Number, ...] = ()
    how: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise ValueError for a missing value without a reason, or one that nothing measures."""
        if (self.value is None) == (self.reason is None):
            msg = f"reading {self.metric}: give a value, or None with a reason"
            raise ValueError(msg)
        # The sum is below the limit only if every one of them is a number, and below it.
        if size_of((self.value or 0, self.low or 0, self.high or 0, *self.samples)) < MOST:
            return
        few = [one for one in (self.value, self.low, self.high) if one is not None]
        for value in (*few, *self.samples):
            if not is_measurable(value):
                msg = f"reading {self.metric}: {str(value)[:40]}; expected a number below {MOST:g}"
                raise ValueError(msg)


class Header(TypedDict, total=False):
    """By what a record's version is known before the rest is read."""

    schema: int


class StoredSource(TypedDict):
    """A source as a case holds it."""

    kind: str
    sha256: str | None


class StoredCase(TypedDict, total=False):
    """What of a case readers rely on; other parts are taken as they are, and older ones lack some."""

    model: Required[str]
    resolution: Required[Count]
    options: Required[dict[str, Any]]
    weights: Required[StoredSource]
    batch: Required[Count]
    batch_rule: str
    dtype: Required[str]
    mode: Required[str]
    device: Required[str]
    seed: Required[Count]
    threads: Required[Count]
    measure: Required[list[str]]
    samples: Count | None
    data: StoredSource | None
    extractor: StoredSource | None
    files: dict[str, str]
    timing: dict[str, float]


class StoredMachine(TypedDict, total=False):
    """What of a machine's facts readers rely on."""

    versions: dict[str, str | None]


class StoredProvenance(TypedDict, total=False):
    """What of a provenance readers rely on."""

    machine: StoredMachine
    environment: dict[str, str]
    commit: str | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One trial's document: the request (`case`), the results, the provenance."""

    identity: str
    case_key: str
    case: Mapping[str, Any]
    trial: Count
    attempt: Count
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


def size_of(values: Iterable[Number]) -> Number:
    """Return the sum of absolute values; infinity where a count is beyond every floating number."""
    try:
        return sum(map(abs, values))
    except OverflowError:
        return math.inf


def is_measurable(value: Number) -> bool:
    """Return whether a number may be one that was measured: finite, and not beyond `MOST`."""
    return -MOST < value < MOST


def canonical(value: Any) -> str:
    """Return strict JSON text with sorted keys: equal values give equal text."""
    return json.dumps(value, sort_keys=True, allow_nan=False, ensure_ascii=False)


def digest(value: Any) -> str:
    """Return the SHA-256 of a value's canonical JSON."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def plugin_file(record: Record) -> str | None:
    """Return the name of the file that a record's model is a plugin of; None for an installed one."""
    plugin = record.provenance.get("plugin")
    file = plugin.get("file") if isinstance(plugin, Mapping) else None
    return file if isinstance(file, str) else None


def record_to_json(record: Record) -> str:
    """Return the record as one JSON document, readable by people."""
    document = dataclasses.asdict(record)
    return json.dumps(document, sort_keys=True, allow_nan=False, ensure_ascii=False, indent=1)


def record_from_json(text: str | bytes) -> Record:
    """Return the record; raises ValueError in one line for text that is not one, or newer."""
    found = read_document(text, Header).get("schema")
    if found != SCHEMA:
        msg = f"expected record schema {SCHEMA}, found {found}"
        raise ValueError(msg)
    record = read_document(text, Record)
    as_document(record.case, StoredCase)
    as_document(record.provenance, StoredProvenance)
    return record


def reading_from(entry: Mapping[str, Any]) -> Reading:
    """Return the reading that a JSON object holds."""
    return Reading(**{**entry, "samples": tuple(entry.get("samples", ()))})
