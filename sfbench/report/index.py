"""An on-disk index of a large store: what tables need of every record, in columns.

A record never changes once written, so its file is read once. The index is a copy: removing it
costs time and nothing else. It holds numbers and text only, and is read as such.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sfbench.data.array_files import read_arrays
from sfbench.report import measurements as extraction
from sfbench.report.measurements import BODY, HEAD, Measurements
from sfbench.report.reading import Progress, read_files
from sfbench.store.runs import ANY, Store, Unreadable, read_of
from sfbench.store.whole_file import whole_file
from sfbench.values.records import Record

NAME = ".index.npz"
INDEXED_FROM = 1000
"""Fewer files are read as quickly without an index."""
FILES = ("file", "modified", "bytes")


@dataclasses.dataclass(frozen=True, slots=True)
class Indexed:
    """What a store holds: the measurements, the file of each record, and what could not be read.

    Files are named from the store's `root`.
    """

    root: Path
    found: Measurements
    files: pd.DataFrame
    unreadable: list[Unreadable]

    def records(self, places: Sequence[int]) -> list[Record]:
        """Return whole records by position, samples and provenance included."""
        paths = [self.root / self.files["file"].iloc[place] for place in places]
        return [record for path in paths if isinstance(record := read_of(path), Record)]


def indexed(store: Store, progress: Progress) -> Indexed:
    """Return the measurements of a store, oldest first; only new files are read."""
    there = files_of(store)
    kept = load(store.root / NAME) if len(there) >= INDEXED_FROM else None
    old, fresh = np.arange(0), np.arange(len(there))
    if kept is not None:
        before = pd.MultiIndex.from_frame(kept.files)
        now = pd.MultiIndex.from_frame(there)
        old, fresh = np.flatnonzero(before.isin(now)), np.flatnonzero(~now.isin(before))
    chunks = read_files(store.root, there["file"].tolist(), fresh.tolist(), progress)
    parts = [(one.found, there.iloc[one.places].reset_index(drop=True)) for one in chunks]
    unreadable = [bad for one in chunks for bad in one.unreadable]
    if kept is not None:
        parts.insert(0, (kept.found.of(old), kept.files.iloc[old].reset_index(drop=True)))
    whole = joined([found for found, _ in parts])
    files = pd.concat([part for _, part in parts], ignore_index=True)
    changed = any(one.places for one in chunks) or (kept is not None and len(old) < len(kept.files))
    if len(there) >= INDEXED_FROM and changed:
        keep(store.root / NAME, whole, files)
    order = whole.heads["started"].argsort(kind="stable").to_numpy()
    return Indexed(
        store.root, whole.of(order), files.iloc[order].reset_index(drop=True), unreadable
    )


def files_of(store: Store) -> pd.DataFrame:
    """Return every record file with its modification time and size."""
    rows = []
    for folder in store.folders(ANY):
        if not folder.is_dir():
            continue
        entries = (entry for entry in os.scandir(folder) if entry.name.endswith(".json"))
        for entry in sorted(entries, key=lambda entry: entry.name):
            changed, size = 0, 0
            with contextlib.suppress(OSError):  # a link that leads nowhere is named when it is read
                status = entry.stat()
                changed, size = status.st_mtime_ns, status.st_size
            rows.append((f"{folder.name}/{entry.name}", changed, size))
    return pd.DataFrame(rows, columns=list(FILES)).astype({"file": object})


def joined(parts: Sequence[Measurements]) -> Measurements:
    """Return measurements one after the other."""
    shifts = np.cumsum([0, *(len(part) for part in parts[:-1])])
    heads = [part.heads for part in parts if len(part)]
    readings = [
        part.readings.assign(record=part.readings["record"] + shift)
        for part, shift in zip(parts, shifts, strict=True)
        if len(part.readings)
    ]
    return Measurements(
        pd.concat(heads, ignore_index=True) if heads else parts[0].heads,
        pd.concat(readings, ignore_index=True) if readings else parts[0].readings,
    )


def layout() -> str:
    """Return the version of an index: one written by other code is not used."""
    source = Path(extraction.__file__).read_bytes() + Path(__file__).read_bytes()
    return hashlib.sha256(source).hexdigest()


def keep(path: Path, found: Measurements, files: pd.DataFrame) -> None:
    """Write the index; a store that cannot be written to only costs speed."""
    columns: dict[str, np.ndarray] = {"layout": text(layout())}
    for prefix, frame in (("head", found.heads), ("body", found.readings), ("file", files)):
        for name in frame.columns:
            for suffix, array in column_arrays(frame[name]).items():
                columns[f"{prefix}.{name}.{suffix}"] = array
    with contextlib.suppress(OSError), whole_file(path) as file:
        np.savez(file, allow_pickle=False, **columns)


def column_arrays(column: pd.Series) -> dict[str, np.ndarray]:
    """Return a column as arrays: numbers as they are, text as codes and the texts they stand for."""
    if pd.api.types.is_numeric_dtype(column):
        return {"numbers": column.to_numpy()}
    codes, texts = pd.factorize(column)
    return {"codes": codes.astype(np.int32), "texts": text(json.dumps(list(texts)))}


def text(value: str) -> np.ndarray:
    """Return text as an array of bytes."""
    return np.frombuffer(value.encode(), np.uint8)


def load(path: Path) -> Indexed | None:
    """Return the index as written, or None if it is missing, damaged, or from other code."""
    try:
        if bytes(read_arrays(path, "layout")["layout"]).decode() != layout():
            return None
        stored = read_arrays(path)
        frames = {
            prefix: pd.DataFrame({name: column(stored, f"{prefix}.{name}") for name in names})
            for prefix, names in (("head", HEAD), ("body", BODY), ("file", FILES))
        }
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return None
    return Indexed(path.parent, Measurements(frames["head"], frames["body"]), frames["file"], [])


def column(stored: Mapping[str, Any], name: str) -> np.ndarray:
    """Return one column of the index; raises KeyError if it is not there."""
    if f"{name}.numbers" in stored:
        return np.asarray(stored[f"{name}.numbers"])
    texts = np.array([*json.loads(bytes(stored[f"{name}.texts"])), None], dtype=object)
    found: np.ndarray = texts[stored[f"{name}.codes"]]
    return found
