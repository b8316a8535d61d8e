"""Measurements as frames to show: one tidy row per number, then one row per case.

Everything is done for all rows at once: a store may hold a hundred thousand records.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from sfbench.report.measurements import CASE, Measurements, measurements
from sfbench.values.metrics import is_distance
from sfbench.values.records import Record

COVERAGE = 0.95
NUMBER = r"\d{1,12}(?:\.\d{1,8})?"
MODEL_ORDER = ("quality", "model", "resolution", "batch", "dtype", "mode")
TIDY = ("metric", "value", "low", "high", "unit", "reason")
ABOUT = ("trials", "status", "reason", "flags", "started", "quality_reason", "variant")
"""Columns of the summary between what identifies a row and its metrics, which come by name."""


def newest(heads: pd.DataFrame) -> np.ndarray:
    """Return the positions of the newest records of each case and machine, oldest first.

    Older: another identity (the code, a package or the environment has changed since), or an
    earlier attempt. Of records that started at once, the last is the newest.
    """
    if heads.empty:
        return np.arange(0)
    order = heads.reset_index(drop=True).sort_values("started", kind="stable")
    last = order.groupby(["case_key", "machine", "origin"], sort=False)["identity"].transform(
        "last"
    )
    kept = order[order["identity"] == last]
    kept = kept.sort_values("attempt", kind="stable")
    kept = kept.drop_duplicates(["identity", "trial"], keep="last")
    return np.sort(kept.index.to_numpy())


def most_recent(heads: pd.DataFrame, most: int) -> np.ndarray:
    """Return the positions of the newest complete cases within `most` records; at least one case.

    A case without some of its trials would have another mean than its own.
    """
    cases = heads.groupby("identity", sort=False)["started"].agg(["max", "size"])
    order = cases.sort_values("max", ascending=False, kind="stable")
    fits = order["size"].cumsum() <= most
    fits.iloc[:1] = True
    return np.flatnonzero(heads["identity"].isin(fits.index[fits]))


def current(records: Sequence[Record]) -> tuple[list[Record], int]:
    """Return the newest records of each case and machine, and how many older ones are left out."""
    places = newest(measurements(records).heads)
    return [records[place] for place in places], len(records) - len(places)


def tidy(found: Measurements) -> pd.DataFrame:
    """Return one row per number: the case's columns, trial, metric, value, bounds, unit, reason."""
    cases = found.heads[[*CASE, "trial"]].iloc[found.readings["record"]].reset_index(drop=True)
    numbers = found.readings[list(TIDY)].reset_index(drop=True)
    return pd.concat([cases, numbers], axis=1)


def as_csv(rows: pd.DataFrame) -> str:
    """Return rows as CSV; an apostrophe goes before text that a spreadsheet would run as a formula."""
    inert = rows.copy()
    for name in rows.select_dtypes(exclude="number"):
        inert[name] = rows[name].map(inert_cell)
    return inert.rename(columns=inert_cell).to_csv(index=False)


def inert_cell(cell: Any) -> Any:
    """Return a cell, with an apostrophe before text that a spreadsheet would take for a formula."""
    formula = isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{cell}" if formula else cell


def summary(found: Measurements) -> pd.DataFrame:
    """Return one row per case: trials combined, each metric with its bounds, status and flags.

    Columns: `CASE`, `ABOUT`, then the metrics by name, each with `.low` and `.high` where there
    are bounds.
    """
    heads = found.heads
    if heads.empty:
        return pd.DataFrame()
    good = heads["status"] == "ok"
    # If no trial is ok, the readings of the failed ones are shown.
    counted = good | ~good.groupby(heads["identity"]).transform("any")
    rows = heads[counted].drop_duplicates("identity", keep="last").set_index("identity")
    rows = rows.assign(identity=rows.index)[list(CASE)].join(about(heads, good))
    readings = found.readings.assign(
        identity=heads["identity"].to_numpy()[found.readings["record"]],
    )[counted.to_numpy()[found.readings["record"]]]
    rows["quality_reason"] = quality_reasons(readings).reindex(rows.index)
    rows["quality_reason"] = (
        rows["quality_reason"].astype(object).where(rows["quality_reason"].notna(), None)
    )
    rows["variant"] = list(variants(heads, rows.index))
    wide = rows.join(wide_metrics(readings))
    wide = wide.sort_values("variant", kind="stable", key=natural)
    return wide.sort_values(list(MODEL_ORDER), kind="stable").reset_index(drop=True)


def natural(texts: pd.Series) -> pd.Series:
    """Return texts that sort as people count: steps=8 before steps=16."""
    return texts.str.replace(NUMBER, lambda found: f"{float(found[0]):024.8f}", regex=True)


def about(heads: pd.DataFrame, good: pd.Series) -> pd.DataFrame:
    """Return, per case: how many trials are ok, the last failure, flags, and the time."""
    cases = heads.groupby("identity", sort=False)
    found = pd.DataFrame({"trials": good.groupby(heads["identity"], sort=False).sum()})
    bad = heads[~good].drop_duplicates("identity", keep="last").set_index("identity")
    found["status"] = bad["status"].reindex(found.index).fillna("ok")
    reason = bad["reason"].reindex(found.index).astype(object)
    found["reason"] = reason.where(reason.notna(), None)
    told = heads[heads["flags"] != ""].drop_duplicates(["identity", "flags"])
    flagged = told.groupby("identity", sort=False)["flags"].agg(" ".join)
    flags = flagged.map(lambda text: " ".join(dict.fromkeys(text.split())))
    found["flags"] = flags.reindex(found.index).fillna("").astype(object)
    found["started"] = cases["started"].last()
    return found


def quality_reasons(readings: pd.DataFrame) -> pd.Series:
    """Return why a case has no distance, where quality was requested."""
    names = [name for name in readings["metric"].unique() if is_distance(name)]
    asked = readings[readings["metric"].isin(names)]
    cases = asked.groupby("identity", sort=False)
    return cases["reason"].last()[cases["value"].count() == 0]


def variants(heads: pd.DataFrame, identities: pd.Index) -> Iterator[str]:
    """Yield, per case, the settings in which the cases of its model differ."""
    firsts = heads.drop_duplicates("identity").set_index("identity").loc[identities]
    pairs = list(zip(firsts["model"], firsts["settings"], strict=True))
    parsed = {text: json.loads(text) for text in set(firsts["settings"])}
    values: dict[tuple[str, str], set[str]] = {}
    for model, text in set(pairs):
        for name, value in parsed[text].items():
            values.setdefault((model, name), set()).add(value)
    told = {
        (model, text): "; ".join(
            f"{name}={value}"
            for name, value in parsed[text].items()
            if len(values[model, name]) > 1
        )
        for model, text in set(pairs)
    }
    yield from (told[pair] for pair in pairs)


def wide_metrics(readings: pd.DataFrame) -> pd.DataFrame:
    """Return one row per case and one column per metric, with bounds if there are any."""
    if readings.empty:
        return pd.DataFrame()
    combined = combine(readings)
    metrics = sorted(readings["metric"].unique())
    parts = {
        name: combined[name].unstack("metric").reindex(columns=metrics)  # noqa: PD010  # of an index
        for name in ("value", "low", "high")
    }
    columns = {}
    for metric in metrics:
        columns[metric] = parts["value"][metric]
        if parts["low"][metric].notna().any():
            columns[f"{metric}.low"] = parts["low"][metric]
            columns[f"{metric}.high"] = parts["high"][metric]
    return pd.DataFrame(columns)


def combine(readings: pd.DataFrame) -> pd.DataFrame:
    """Return the estimate over trials, by case and metric: value, low, high.

    Geometric mean with a t interval on the log scale. One trial keeps its own bounds; values that
    are all the same have none; values that are not all positive are averaged plainly.
    """
    keys = ["identity", "metric"]
    present = readings[readings["value"].notna()]
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(present["value"])
    groups = present.assign(log=logs).groupby(keys, sort=False)
    found = groups.agg(
        value=("value", "first"),
        low=("low", "first"),
        high=("high", "first"),
        count=("value", "size"),
        least=("value", "min"),
        most=("value", "max"),
        mean=("value", "mean"),
        log=("log", "mean"),
        spread=("log", "std"),
    )
    several = (found["count"] > 1) & (found["least"] < found["most"])
    plain, logarithmic = several & (found["least"] <= 0), several & (found["least"] > 0)
    count = found["count"].where(logarithmic, 2)
    margin = stdtrit(count - 1, (1 + COVERAGE) / 2) * found["spread"] / np.sqrt(count)
    found["value"] = (
        found["value"].mask(plain, found["mean"]).mask(logarithmic, np.exp(found["log"]))
    )
    none = found["count"] > 1
    with np.errstate(over="ignore"):
        low, high = np.exp(found["log"] - margin), np.exp(found["log"] + margin)
    found["low"] = found["low"].mask(none).mask(logarithmic, low)
    found["high"] = found["high"].mask(none).mask(logarithmic, high.replace(np.inf, np.nan))
    every = pd.MultiIndex.from_frame(readings[keys].drop_duplicates())
    return found[["value", "low", "high"]].reindex(every)
