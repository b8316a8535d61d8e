"""Which rows may be compared, and which value is clearly the best of those.

Marks of the best, the headline and the figure of quality against speed all go by this module.
"""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from sfbench.values.flags import DISTURBED
from sfbench.values.metric import Better
from sfbench.values.metric_names import CUSTOM_TIMING
from sfbench.values.metrics import is_distance, metric_of

PLACE = ["origin", "machine", "device"]
"""Where rows were measured, and whose records they are."""
ALIKE = [*PLACE, "resolution", "width", "batch", "dtype", "mode", "threads"]
"""What rows must share before their numbers may be compared, but for the basis of quality."""
BASIS = "quality"


def groups(rows: pd.DataFrame, *, quality: bool) -> Iterator[pd.DataFrame]:
    """Yield the rows that may be compared with each other, in the order of their first rows.

    `quality`: their quality, which also needs the same basis.
    """
    keys = [*ALIKE, BASIS] if quality else ALIKE
    for _, part in rows.groupby(keys, dropna=False, sort=False):
        yield part


def best(rows: pd.DataFrame, metric: str, better: Better) -> set[object]:
    """Return the rows, at most one of each group, whose interval overlaps no other's.

    A value without an interval is never marked and prevents marking another beside it; nothing is
    best without a rival. Rows of custom timing are neither marked nor rivals; a row whose machine
    was disturbed is a rival, and never best in speed.
    """
    low, high = f"{metric}.low", f"{metric}.high"
    if not {metric, low, high} <= set(rows.columns):
        return set()
    of_quality = metric_of(metric).family == "quality"
    rows = rows if of_quality else standard(rows)
    found = set()
    for part in groups(rows[rows[metric].notna()], quality=of_quality):
        if len(part) == 1 or part[[low, high]].isna().any(axis=None):
            continue
        order = part.sort_values(metric, ascending=better == "lower")
        first, others = order.iloc[0], order.iloc[1:]
        if better == "lower":
            clear = (others[low] > first[high]).all()
        else:
            clear = (others[high] < first[low]).all()
        if clear and (of_quality or not is_disturbed(first)):
            found.add(order.index[0])
    return found


def is_disturbed(row: pd.Series) -> bool:
    """Return whether flags say that the machine was not quiet."""
    return bool(DISTURBED & set(str(row.get("flags") or "").split()))


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
