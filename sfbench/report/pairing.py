"""The pairing rule: quality and speed share a row only if they belong to the same thing.

The same thing: model, options, resolution, weights (by digest; random ones by their seed),
precision and execution mode. A row measured for speed takes over the quality of another run that
agrees in all of these, and no other.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from sfbench.values.case import MEASURES, Case
from sfbench.values.fields import names, of_role
from sfbench.values.metric_names import (
    CORE,
    DEVICE_ALLOCATED,
    ENERGY,
    HOST_PEAK,
    MINIMUM_MEMORY,
)
from sfbench.values.metrics import of_family
from sfbench.values.records import Record, digest

MORE = (HOST_PEAK, DEVICE_ALLOCATED, ENERGY, MINIMUM_MEMORY)
DECIDE = names(Case, "images")
"""Parts of a case that decide its images."""
JUDGED = of_role(Case, "quality")
SAME = (*DECIDE, "weights_sha256", "machine")


def joined_case(case: Mapping[str, Any], judged: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return a stored case with the quality request of the same thing."""
    if judged is None or judged is case:
        return case
    asked = {*case.get("measure", ()), *judged.get("measure", ())}
    return {
        **case,
        **{name: judged[name] for name in JUDGED if name in judged},
        "measure": [measure for measure in MEASURES if measure in asked],
        "files": {**judged.get("files", {}), **case.get("files", {})},
    }


def joined_records(records: Sequence[Record]) -> list[Record]:
    """Return speed records with the newest quality of the same thing; others unchanged."""
    donors = {
        same_thing(r): r
        for r in sorted(records, key=lambda one: one.started)
        if r.status == "ok" and r.case.get("measure") == ["quality"]
    }
    taken: set[str] = set()
    found = []
    for record in records:
        donor = donors.get(same_thing(record))
        if donor is None or "quality" in record.case.get("measure", ()):
            found.append(record)
            continue
        taken.add(donor.identity)
        case = joined_case(record.case, donor.case)
        readings = (*record.readings, *donor.readings)
        found.append(dataclasses.replace(record, case=case, readings=readings))
    return [record for record in found if record.identity not in taken or len(records) == 1]


def same_thing(record: Record) -> str:
    """Return the fields of a record's case that decide its images, and its machine."""
    case = record.case
    own = {name: case.get(name) for name in DECIDE}
    return digest([own, record.machine, record.trial])


def is_quality(name: str) -> bool:
    """Return whether a column of the summary holds quality."""
    stem = name.removesuffix(".low").removesuffix(".high")
    return stem in {"quality", "quality_reason"} or of_family(stem, "quality")


def paired(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with speed rows and quality rows of the same thing merged.

    A row that holds only quality goes where a row without quality takes it up; others stay as they
    are. Where several qualities fit, the newest is taken.
    """
    if frame.empty:
        return frame
    columns = [name for name in frame.columns if is_quality(name)]
    has_quality = frame["quality"].astype(bool)
    speed = frame.get(CORE, pd.Series(index=frame.index, dtype=float))
    giving = has_quality & speed.isna() & (frame["status"] == "ok")
    same = [name for name in SAME if name in frame.columns]
    alike = frame[same].astype(object).where(frame[same].notna(), None)
    keys = pd.Series(list(zip(*(alike[name] for name in same), strict=True)), index=frame.index)
    donors = frame[giving].sort_values("started", kind="stable").index
    newest = dict(zip(keys[donors], donors, strict=True))
    taking = [index for index in frame.index[~has_quality & speed.notna()] if keys[index] in newest]
    result = frame.copy()
    given = [newest[keys[index]] for index in taking]
    result.loc[taking, columns] = frame.loc[given, columns].to_numpy()
    for index, donor in zip(taking, given, strict=True):
        flags = f"{frame.loc[index].get('flags', '')} {frame.loc[donor].get('flags', '')}".split()
        result.loc[index, "flags"] = " ".join(dict.fromkeys(flags))
    judged = result["identity"].where(has_quality, None).astype(object)
    judged.loc[taking] = frame.loc[given, "identity"].to_numpy()
    result["quality_identity"] = judged
    # A row that holds more than quality keeps it, and stays.
    more = [name for name in MORE if name in frame.columns]
    spent = [index for index in sorted(set(given)) if frame.loc[index, more].isna().all()]
    return result.drop(index=spent).reset_index(drop=True)
