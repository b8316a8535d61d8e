"""The best value of a column if its interval overlaps no other; which distance counts."""

from __future__ import annotations

import pandas as pd

from sfbench.values.metric_names import CUSTOM_TIMING
from sfbench.values.metrics import Better, is_distance, metric_of


def best(part: pd.DataFrame, metric: str, better: Better) -> set[object]:
    """Return the rows, at most one per resolution, batch size and threads, that are clearly best.

    A value without an interval is never marked and prevents marking another beside it; nothing is
    best without a rival. Rows of custom timing are neither marked nor rivals.
    """
    low, high = f"{metric}.low", f"{metric}.high"
    if not {metric, low, high} <= set(part.columns):
        return set()
    found = set()
    part = part if metric_of(metric).family == "quality" else standard(part)
    for _, rows in part[part[metric].notna()].groupby(
        ["resolution", "width", "batch", "threads"], dropna=False
    ):
        if len(rows) == 1 or rows[[low, high]].isna().any(axis=None):
            continue
        order = rows.sort_values(metric, ascending=better == "lower")
        first, others = order.iloc[0], order.iloc[1:]
        if better == "lower":
            clear = (others[low] > first[high]).all()
        else:
            clear = (others[high] < first[low]).all()
        if clear:
            found.add(order.index[0])
    return found


def standard(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that were timed as the protocol says."""
    if "flags" not in rows:
        return rows
    return rows[~rows["flags"].fillna("").str.contains(CUSTOM_TIMING, regex=False)]


def common_distance(rows: pd.DataFrame) -> str | None:
    """Return the distance that most rows have; None if no row has one."""
    counts = {name: int(rows[name].notna().sum()) for name in rows.columns if is_distance(name)}
    name = max(counts, key=counts.__getitem__, default=None)
    return name if name is not None and counts[name] else None
