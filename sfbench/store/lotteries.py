"""How much a model's quality varies over training again, kept in the store for later comparisons."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

from sfbench.store.album import plain
from sfbench.store.whole_file import write_whole
from sfbench.values.documents import DocumentError, read_document
from sfbench.values.records import digest

FOLDER = "lotteries"
SUBJECT = ("model", "resolution", "options", "data")
"""Of a case: what was trained, and the real images that it was trained on and judged by."""


class StoredSpread(TypedDict):
    """A standard deviation with its 95 % interval."""

    value: float
    low: float
    high: float


class Lottery(TypedDict):
    """What was trained and judged, the value of every evaluation [run][evaluation], and its spread."""

    model: str
    resolution: int
    options: dict[str, Any]
    data: dict[str, Any]
    preset: str
    kimg: float
    metric: str
    samples: int
    values: list[list[float]]
    mean: float
    low: float
    high: float
    between: StoredSpread
    within: StoredSpread


def lottery_file(store: Path, case: Mapping[str, Any], metric: str) -> Path:
    """Return where the lottery of a case's model is kept; weights, seeds and settings do not matter."""
    subject = {name: case[name] for name in SUBJECT} | {"metric": metric}
    return store / FOLDER / f"{plain(case['model'])}-{digest(subject)[:16]}.json"


def keep_lottery(store: Path, found: Lottery) -> Path:
    """Write a lottery and return its file; it replaces an earlier one of the same model."""
    path = lottery_file(store, found, found["metric"])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(found, indent=1, sort_keys=True) + "\n")
    return path


def read_lottery(store: Path, case: Mapping[str, Any], metric: str) -> Lottery | None:
    """Return the lottery of a case's model, or None if there is none that can be read."""
    with contextlib.suppress(OSError, DocumentError):
        return read_document(lottery_file(store, case, metric).read_bytes(), Lottery)
    return None
