"""Behind `sfbench quality --against`: two sets of images on one reference, and their difference."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator
from typing import Any

from sfbench.api.errors import UsageError
from sfbench.cli.bench import Asked, Bench
from sfbench.cli.exits import Exit
from sfbench.cli.judging import name_unreadable
from sfbench.quality.influences import Influences, difference
from sfbench.quality.protocols import OWN, read_protocol
from sfbench.report import comparison, verdict_table, verdicts
from sfbench.report.verdicts import Row
from sfbench.values.metrics import is_distance
from sfbench.values.records import Reading


def against(asked: Asked, other: str, protocol: str, *, as_json: bool) -> Exit:
    """Print how B (`other`) differs from A on the same real images; 5 if nothing can be compared."""
    if protocol != OWN:
        msg = f"--protocol {protocol}: --against compares by --protocol {OWN} alone"
        raise UsageError(msg)
    if asked.per_class:
        msg = "--per-class compares nothing; omit it, or --against"
        raise UsageError(msg)
    first = Bench(asked)
    second = Bench(dataclasses.replace(asked, images=other, model=None))
    second.open_extractor = first.open_extractor
    kept: dict[str, Influences] = {}
    try:
        with first.together():
            a, b = (judged(bench, kept) for bench in (first, second))
    except KeyboardInterrupt:
        first.progress.clear()
        print("interrupted: finished parts are saved; run again to continue", file=sys.stderr)
        return Exit.INTERRUPTED
    first.progress.clear()
    if first.rank > 0:
        return Exit.OK
    rows = rows_of(a, b, kept)
    for line in left_out(a, b, {row.metric for row in rows}):
        print(line, file=sys.stderr)
    name = str(asked.images or asked.model)
    if as_json:
        documents = [[dataclasses.asdict(without_name(one)) for one in side] for side in (a, b)]
        differences = [verdicts.document(row) for row in rows]
        print(
            json.dumps({"a": documents[0], "b": documents[1], "differences": differences}, indent=1)
        )
    elif rows:
        from sfbench.cli.terminal import console

        console().print(verdict_table.table(rows, name, other))
    return Exit.OK if rows else Exit.NOTHING_MEASURED


def left_out(a: list[Reading], b: list[Reading], compared: set[str]) -> Iterator[str]:
    """Yield why a distance is not compared."""
    for side in (a, b):
        for reading in side:
            if is_distance(reading.metric) and reading.metric not in compared:
                compared.add(reading.metric)
                reason = reading.reason or reading.how.get("interval", "it has no interval")
                yield f"{reading.metric}: not compared: {reason}"


def judged(bench: Bench, kept: dict[str, Influences]) -> list[Reading]:
    """Return a side's readings; the influences behind them are added to `kept`."""

    def keep(found: Influences) -> str:
        name = f"{len(kept)}"
        kept[name] = found
        return name

    compared: Any = bench.comparison([read_protocol(OWN)])
    compared = dataclasses.replace(compared, keep=keep)
    readings = list(compared.readings())
    name_unreadable(compared)
    return readings


def rows_of(a: list[Reading], b: list[Reading], kept: dict[str, Influences]) -> list[Row]:
    """Return a row for each value of both sides whose images are known."""
    found = []
    other = {reading.metric: reading for reading in b}
    for reading in a:
        names = [one.how.get("influences") for one in (reading, other[reading.metric])]
        if None in names:
            continue
        change = difference(kept[str(names[0])], kept[str(names[1])])
        found.append(
            Row(
                title="B / A",
                metric=reading.metric,
                result=comparison.of_difference(change),
                values=[[change.a], [change.b]],
                noise_from="images of both sides",
                difference=change,
            )
        )
    return verdicts.adjusted(found)


def without_name(reading: Reading) -> Reading:
    """Return a reading without the name of its influences, which are kept nowhere."""
    how = {name: value for name, value in reading.how.items() if name != "influences"}
    return dataclasses.replace(reading, how=how)
