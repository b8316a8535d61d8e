"""The report's first sentence: what its rows show with certainty."""

from __future__ import annotations

import pandas as pd

from sfbench.report.best import best, common_distance, standard
from sfbench.report.table import number
from sfbench.values.metric_names import CORE


def headline(rows: pd.DataFrame) -> str:
    """Return the verdict in a sentence or two, from the intervals of the table alone.

    Numbers of two machines are never compared: it describes the machine with most rows.
    """
    good = rows[rows["status"] == "ok"]
    if good.empty:
        return f"None of {len(rows)} cases could be measured."
    here = max((part for _, part in good.groupby(["machine", "device"])), key=len)
    parts = [speed(here), quality(here)]
    if len(here) < len(good):
        parts.insert(0, f"On {here['device'].iloc[0]} of machine {here['machine'].iloc[0]}:")
    failed = len(rows) - len(good)
    if failed:
        parts.append(f"{failed} of {len(rows)} cases could not be measured.")
    return " ".join(part for part in parts if part)


def speed(rows: pd.DataFrame) -> str:
    """Return which model is clearly fastest at the largest resolution that several share."""
    if CORE not in rows or rows[CORE].isna().all():
        return ""
    rows = standard(rows[rows[CORE].notna()])
    if rows.empty:
        return ""
    counts = rows.groupby("resolution")["model"].nunique()
    shared = counts[counts > 1]
    if shared.empty:
        top = rows.sort_values(CORE).iloc[-1]
        return (
            f"{top['model']} generates {number(top[CORE])} images/s at "
            f"{top['resolution']} px, batch {top['batch']}."
        )
    side = shared.index.max()
    here = rows[rows["resolution"] == side]
    sure = best(here, CORE, "higher")
    if not sure:
        return f"At {side} px no model is clearly fastest: the intervals overlap."
    top = here.loc[[index for index in here.index if index in sure]]
    top = top.sort_values(CORE).iloc[-1]
    peers = here[(here["batch"] == top["batch"]) & (here.index != top.name)]
    second = peers.sort_values(CORE).iloc[-1]
    ratio = top[CORE] / second[CORE]
    return (
        f"At {side} px and batch {top['batch']}, {top['model']} is fastest: "
        f"{number(top[CORE])} images/s, {number(ratio)} times {second['model']}."
    )


def quality(rows: pd.DataFrame) -> str:
    """Return which model clearly has the lowest distance among comparable ones."""
    name = common_distance(rows)
    if name is None:
        return ""
    basis = rows.loc[rows[name].notna(), "quality"]
    rows = (
        rows[rows[name].notna() & (rows["quality"] == basis.iloc[-1])] if len(basis) else rows[:0]
    )
    if rows["model"].nunique() < 2:  # noqa: PLR2004  # one alone has no rival
        return ""
    bounds = [f"{name}.low", f"{name}.high"]
    if not set(bounds) <= set(rows) or rows[bounds].isna().any(axis=None):
        return f"Which model has the lowest {name} is open: not every value has an interval."
    least = rows.sort_values(name).iloc[0]
    sure = best(rows, name, "lower")
    if least.name not in sure:
        return f"No model clearly has the lowest {name}: the intervals overlap."
    return f"{least['model']} has the lowest {name}: {number(least[name])}."
