"""The report's first lines: what was asked, and what its rows show with certainty."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from sfbench.report.comparable import (
    PLACE,
    best,
    common_distance,
    groups,
    is_disturbed,
    standard,
)
from sfbench.report.numbers import number
from sfbench.values.flags import DISTURBED
from sfbench.values.messages import counted
from sfbench.values.metric_names import CORE
from sfbench.values.sizes import size_of

MOST_NAMED = 4
"""Models named in the question; of more, the number."""
PAIR = 2


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """The question, where it was answered, and the verdicts by topic (Quality, Speed, Missing)."""

    question: str
    place: str
    verdicts: Sequence[tuple[str, str]]

    def text(self) -> str:
        """Return the place and the verdicts in a few sentences."""
        return " ".join([f"{self.place}.", *(f"{topic}: {told}" for topic, told in self.verdicts)])


def headline(
    rows: pd.DataFrame, processor: str = "", defaults: Mapping[str, Mapping[str, Any]] | None = None
) -> Headline:
    """Return the question and the verdicts, from the intervals of the table alone.

    Numbers of two machines are never compared: it describes the machine with most rows.
    `processor`: the name of that machine's processor, if it is known; `defaults`: the default options
    of each model, for the command that confirms a verdict.
    """
    good = rows[rows["status"] == "ok"]
    failed = len(rows) - len(good)
    missing = f"{failed} of {counted(len(rows), 'case')} could not be measured."
    if good.empty:
        return Headline(question=question(rows), place=missing.rstrip("."), verdicts=())
    here = main_part(good)
    verdicts = [("Quality", quality(here)), ("Speed", speed(here, defaults or {}))]
    if failed:
        verdicts.append(("Missing", missing))
    if len(here) < len(good):
        elsewhere = (
            f"{counted(len(good) - len(here), 'case')} of other machines or people are shown apart."
        )
        verdicts.append(("Elsewhere", elsewhere))
    return Headline(
        question=question(rows),
        place=place_of(here, processor),
        verdicts=[(topic, told) for topic, told in verdicts if told],
    )


def main_part(good: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the place with most of them; one's own come before those of others."""
    own = good[good["origin"] == "own"]
    among = good if own.empty else own
    return max((part for _, part in among.groupby(PLACE, sort=False)), key=len)


def question(rows: pd.DataFrame) -> str:
    """Return what a reader wants to know of these rows."""
    models = list(dict.fromkeys(rows["model"]))
    sizes = sorted({size_of(row) for _, row in rows.iterrows()})
    where = f"at {joined([f'{size}' for size in sizes[:MOST_NAMED]])} px"
    if len(sizes) > MOST_NAMED:
        where = f"from {sizes[0]} to {sizes[-1]} px"
    if len(models) == 1:
        return f"How good, how fast and how large is {models[0]} {where}?"
    if len(models) > MOST_NAMED:
        return f"Which of {len(models)} models is better {where}?"
    return f"Which is better {where}: {joined(models)}?"


def joined(words: Sequence[str]) -> str:
    """Return words as a list in a sentence."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def place_of(here: pd.DataFrame, processor: str) -> str:
    """Return what was measured, and where."""
    models, cases = here["model"].nunique(), len(here)
    threads = sorted({int(count) for count in here["threads"].dropna()})
    told = f", {joined([str(count) for count in threads])} threads" if threads else ""
    if threads == [1]:
        told = ", 1 thread"
    what = f"{counted(models, 'model')} in {counted(cases, 'case')}"
    where = f"{here['device'].iloc[0]}"
    if processor:
        where += f" ({processor})"
    return f"{what}, on {where}{told}"


def speed(rows: pd.DataFrame, defaults: Mapping[str, Mapping[str, Any]]) -> str:
    """Return which model is fastest at the largest resolution that several share."""
    if CORE not in rows or rows[CORE].isna().all():
        return ""
    rows = standard(rows[rows[CORE].notna()])
    if rows.empty:
        return ""
    shared = [part for part in groups(rows, quality=False) if part["model"].nunique() >= PAIR]
    if not shared:
        top = rows.sort_values("resolution", kind="stable").iloc[-1]
        noisy = " (flagged: the machine was not quiet)" if is_disturbed(top) else ""
        how = f"batch {top['batch']}, {top['dtype']} {top['mode']}"
        return f"{rate(top)} from {top['model']} at {size_of(top)} px, {how}{noisy}."
    # Of what can be said, the largest resolution; of what cannot, too.
    shared.sort(
        key=lambda part: (part["resolution"].iloc[0], part["model"].nunique()), reverse=True
    )
    here = next(
        (part for part in shared if undisturbed(part)["model"].nunique() >= PAIR), shared[0]
    )
    where = f"at {size_of(here.iloc[0])} px and batch {here['batch'].iloc[0]}"
    quiet = undisturbed(here)
    loud = here.drop(index=quiet.index)
    left_out = f" Left out as disturbed: {flagged(loud)}." if len(loud) else ""
    is_open = quiet["model"].nunique() < PAIR
    order = (here if is_open else quiet).sort_values(CORE, ascending=False)
    top = order.iloc[0]
    second = order[order["model"] != top["model"]].iloc[0]
    live = confirming(top, second, defaults)
    if is_open:
        return f"Nothing can be said {where}, the machine was not quiet: {live} decides.{left_out}"
    if not best(quiet, CORE, "higher"):
        bounds = [f"{CORE}.low", f"{CORE}.high"]
        known = set(bounds) <= set(quiet) and quiet[bounds].notna().all(axis=None)
        why = "intervals overlap" if known else "not every value has an interval"
        return f"No model is clearly fastest {where} ({why}): {live} decides.{left_out}"
    return (
        f"{top['model']} makes {rate(top)} {where}, {number(top[CORE] / second[CORE])} times "
        f"{second['model']}; apart in separate runs, confirm with {live}.{left_out}"
    )


def confirming(
    first: pd.Series, second: pd.Series, defaults: Mapping[str, Mapping[str, Any]]
) -> str:
    """Return the command that compares two rows interleaved."""
    sides = " ".join(
        shlex.quote(side_of(row, defaults.get(row["model"], {}))) for row in (first, second)
    )
    more = {"batch": "8", "dtype": "fp32", "mode": "eager"}
    flags = "".join(
        f" --{name} {first[name]}" for name, usual in more.items() if str(first[name]) != usual
    )
    return f"sfbench compare --live {sides} --res {size_of(first)}{flags}"


def side_of(row: pd.Series, usual: Mapping[str, Any]) -> str:
    """Return a row's model with the options that are not its defaults, as `compare` takes them."""
    pairs = (text.partition("=") for text in str(row["options"] or "").split(", ") if "=" in text)
    own = [f"{name}={value}" for name, _, value in pairs if str(usual.get(name)) != value]
    return ",".join([str(row["model"]), *own])


def undisturbed(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that were measured while the machine was quiet."""
    return rows[[not is_disturbed(row) for _, row in rows.iterrows()]]


def flagged(rows: pd.DataFrame) -> str:
    """Return the models of rows that were disturbed, with their flags."""
    told = []
    for _, row in rows.iterrows():
        flags = [flag for flag in str(row["flags"]).split() if flag in DISTURBED]
        told.append(f"{row['model']} ({', '.join(flags)})")
    return few(told, "; ")


def few(words: Sequence[str], between: str = ", ") -> str:
    """Return the first of many words, and how many more there are."""
    more = len(words) - MOST_NAMED
    return between.join([*words[:MOST_NAMED], *([f"and {more} more"] if more > 0 else [])])


def rate(row: pd.Series) -> str:
    """Return images per second."""
    return f"{number(row[CORE])} images/s"


def quality(rows: pd.DataFrame) -> str:
    """Return which of the comparable models has the lowest distance; of one alone, its value."""
    name = common_distance(rows)
    if name is None:
        return ""
    judged = list(groups(rows[rows[name].notna()], quality=True))
    part = max(judged, key=lambda part: (part["model"].nunique(), part["resolution"].iloc[0]))
    order = part.sort_values(name)
    least = order.iloc[0]
    where = f"at {size_of(least)} px"
    if part["model"].nunique() < PAIR:
        if least["weights"] == "random":
            return ""
        return f"{name} of {least['model']} {where} is {with_bounds(least, name)}."
    second = order[order["model"] != least["model"]].iloc[0]
    worse = clearly_worse(order, name)
    both = f"{with_bounds(least, name)} against {with_bounds(second, name)} of {second['model']}"
    bounds = [f"{name}.low", f"{name}.high"]
    if not set(bounds) <= set(part) or part[bounds].isna().any(axis=None):
        return (
            f"Which model has the lowest {name} {where} is open: not every value has an interval."
        )
    if least.name in best(part, name, "lower"):
        return f"{least['model']} has the lowest {name} {where}, {both}: their intervals are apart."
    return (
        f"No model clearly has the lowest {name} {where}, intervals overlap: {least['model']} "
        f"{both}.{worse}"
    )


def clearly_worse(order: pd.DataFrame, name: str) -> str:
    """Return the models that are clearly worse than the first, in a sentence; empty for none."""
    low, high = f"{name}.low", f"{name}.high"
    if not {low, high} <= set(order) or order[[low, high]].isna().any(axis=None):
        return ""
    worse = order[order[low] > order[high].iloc[0]]
    told = [f"{row['model']}, {with_bounds(row, name)}" for _, row in worse.iterrows()]
    return f" Clearly worse: {few(told, '; ')}." if told else ""


def with_bounds(row: pd.Series, name: str) -> str:
    """Return a value with its interval."""
    low, high = row.get(f"{name}.low"), row.get(f"{name}.high")
    if low is None or pd.isna(low):
        return number(row[name])
    return f"{number(row[name])} [{number(low)}, {number(high)}]"
