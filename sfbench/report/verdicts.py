"""Rows of a comparison: the metric, the case, and the verdict."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sfbench.api.errors import DataError
from sfbench.quality.influences import Difference
from sfbench.quality.sequential import Look
from sfbench.report.beside import Beside, Retraining
from sfbench.report.comparison import Comparison, holm, of_difference, of_intervals, of_trials
from sfbench.report.frame import current
from sfbench.store.runs import ANY, Store, read
from sfbench.values.case import COLUMNS, Case
from sfbench.values.metric import Family
from sfbench.values.metric_names import (
    CORE,
    DEVICE_ALLOCATED,
    DEVICE_RESERVED,
    HOST_ABOVE_LOADED,
)
from sfbench.values.metrics import is_distance, is_headline, metric_of, of_family
from sfbench.values.records import Reading, Record, canonical
from sfbench.values.sizes import size_of

REGRESSIONS: dict[Family, str] = {
    "speed": "slower",
    "memory": "more-memory",
    "quality": "worse-quality",
}
"""What a metric of a family can show; `--fail-on` takes these names."""
KINDS = tuple(REGRESSIONS.values())
GOOD = {"slower": "faster", "more-memory": "less-memory", "worse-quality": "better-quality"}
SPEED = (CORE,)
GRAPH_MODES = frozenset({"cuda-graph", "compile-reduce-overhead", "compile-max-autotune"})
NOTHING = Beside()
PAIRED = tuple(name for name in COLUMNS if name != "model")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One metric of one case on both sides.

    `failure`: why a side has no number; `reason`: why two numbers cannot be compared. `identical`:
    both sides are one identity, equal in code, inputs and machine: whatever differs is the moment.
    `difference`: B less A in the metric's unit, where images of both sides are paired. `look`: the
    last one of a sequential comparison, whose sign is the verdict. `retraining`: what training
    both models again would do to the difference.
    """

    title: str
    metric: str
    result: Comparison | None = None
    failure: str | None = None
    reason: str | None = None
    interleaved: bool = False
    noise_from: str = ""
    values: Any = None
    second: Comparison | None = None
    recurred: bool = False
    identical: bool = False
    difference: Difference | None = None
    look: Look | None = None
    retraining: Retraining | None = None

    @property
    def kind(self) -> str:
        """The regression that this metric can show."""
        return REGRESSIONS[metric_of(self.metric).family]

    @property
    def verdict(self) -> str:
        """The verdict on B: its regression, the opposite, same, or inconclusive."""
        if self.failure:
            return "failed"
        if self.identical and not self.reason:
            return "same"
        if self.biased:
            return "inconclusive"
        if self.look is not None:
            same = self.look.sign == "same"
            return "same" if same else self.by_sign(self.look.low, self.look.high)
        if self.result is None:
            return "inconclusive" if self.difference is None else self.of_pairs(self.difference)
        found = self.result.verdict(higher_is_better=metric_of(self.metric).better == "higher")
        return {"slower": self.kind, "faster": GOOD[self.kind]}.get(found, found)

    @property
    def biased(self) -> bool:
        """Whether a difference may be that of two biases: of few images, or of unequal numbers."""
        found = self.difference
        if found is None or found.debiased or found.change == found.error == 0:
            return False
        return is_distance(self.metric) or found.unequal

    def of_pairs(self, found: Difference) -> str:
        """Return the verdict where there is no ratio: a distance within its error of zero."""
        equal = found.change == found.error == 0
        return "same" if equal else self.by_sign(found.low, found.high)

    def by_sign(self, low: float, high: float) -> str:
        """Return the verdict by the ends of an interval of B less A."""
        if low <= 0 <= high:
            return "inconclusive"
        higher = metric_of(self.metric).better == "higher"
        return GOOD[self.kind] if (low > 0) == higher else self.kind

    @property
    def unpaired(self) -> bool:
        """Whether it is of quality, compared by two intervals since no images could be paired."""
        return self.difference is None and self.result is not None and self.kind == "worse-quality"

    @property
    def unbounded(self) -> bool:
        """Whether it is of quality, and a side has no interval."""
        known = self.result or self.difference or self.failure or self.reason
        return not known and bool(self.values) and self.kind == "worse-quality"

    @property
    def better(self) -> bool:
        """Whether B is better."""
        return self.verdict == GOOD[self.kind]

    @property
    def confirmed(self) -> bool:
        """Whether a regression may fail a gate: it recurred, or does not depend on the moment."""
        return self.recurred if self.interleaved else self.kind != "slower"


def adjusted(rows: Sequence[Row]) -> list[Row]:
    """Return the rows with p adjusted for how many cases are compared by the same metric."""
    found: dict[int, Row] = dict(enumerate(rows))
    for metric in {row.metric for row in rows}:
        places = [i for i, row in found.items() if row.metric == metric and row.result is not None]
        results = [result for i in places if (result := found[i].result) is not None]
        for place, result in zip(places, holm(results), strict=True):
            found[place] = dataclasses.replace(found[place], result=result)
    return list(found.values())


def peak_metric(mode: str, measured: Container[str]) -> str:
    """Return the peak that counts, of those measured: the device's, or on a CPU the host's.

    CUDA graphs hold pools that are reserved, not allocated.
    """
    of_device = DEVICE_RESERVED if mode in GRAPH_MODES else DEVICE_ALLOCATED
    return of_device if of_device in measured else HOST_ABOVE_LOADED


def title(a: Case, b: Case) -> str:
    """Return a short title of what a pair has in common."""
    words = [f"{a.size}px", f"b{a.batch}"]
    words += [x if x == y else f"{x}/{y}" for x, y in ((a.dtype, b.dtype), (a.mode, b.mode))]
    return " ".join(words)


def read_records(path: Path) -> list[Record]:
    """Return the current records of a store's folder, or the one in a file."""
    if path.is_dir():
        return current(Store(path).load(ANY)[0])[0]
    found = read(path)
    if not isinstance(found, Record):
        msg = f"{path}: {found.reason}; expected a record or a folder of records"
        raise DataError(msg)
    return [found]


def same_cases(a: Sequence[Record], b: Sequence[Record], beside: Beside = NOTHING) -> list[Row]:
    """Return rows of the cases that both sides hold (equal canonical inputs)."""
    return stored_rows(a, b, lambda record: (record.case_key, record.protocol), beside)


def two_records(a: Record, b: Record, beside: Beside = NOTHING) -> list[Row]:
    """Return rows of two records that agree in all but model, options and weights."""
    return stored_rows([a], [b], unlike_models, beside)


def two_models(records: Sequence[Record], a: str, b: str, beside: Beside = NOTHING) -> list[Row]:
    """Return rows of two models' cases that agree in all but model, options and weights."""
    kept, _ = current(records)
    first, second = ([r for r in kept if r.case["model"] == name] for name in (a, b))
    return stored_rows(first, second, lambda r: (*unlike_models(r), r.machine), beside)


def unlike_models(record: Record) -> tuple[Any, ...]:
    """Return what two records of different models or weights have in common to be comparable."""
    return *(canonical([record.case.get(name)]) for name in PAIRED), record.protocol


def stored_rows(
    a: Sequence[Record], b: Sequence[Record], key: Callable[[Record], Any], beside: Beside
) -> list[Row]:
    """Return the rows of every pair of cases with an equal key.

    A case measured in A that failed in B is a failure; speed and memory of two machines, and
    several variants of one model under one key, are not comparable.
    """
    rows: list[Row] = []
    for wanted in dict.fromkeys(key(record) for record in a):
        sides = [[r for r in side if key(r) == wanted] for side in (a, b)]
        good = [[r for r in side if r.status == "ok"] for side in sides]
        if good[0] and sides[1]:
            one = len({record.identity for side in good for record in side}) == 1
            found = case_rows(good, sides[1], beside)
            rows += [dataclasses.replace(row, identical=one and excused(row)) for row in found]
    return adjusted(rows)


def excused(row: Row) -> bool:
    """Return whether a difference of equal code is the moment's; in quality there must be none."""
    if row.kind != "worse-quality":
        return True
    first, second = row.values or ((), ())
    return bool(first) and set(first) == set(second)


def case_rows(
    good: Sequence[Sequence[Record]], tried: Sequence[Record], beside: Beside
) -> Iterator[Row]:
    """Yield the rows of one case: its good records on both sides, and all of B's records."""
    first = good[0][0]
    name = case_title(first.case)
    peak = peak_metric(
        first.case["mode"], {r.metric for r in first.readings if r.value is not None}
    )
    if not good[1]:
        failed = tried[-1]
        reason = f"{name} (B): {failed.status}: {failed.reason}"
        yield Row(title=name, metric=SPEED[0], failure=reason)
        return
    variants = max(len({variant(record) for record in side}) for side in good)
    machines = {record.machine for side in good for record in side}
    for metric in metrics(good, peak):
        a, b = (readings(side, metric) for side in good)
        timed = metric in {*SPEED, peak}
        if not a or not b:
            continue
        if variants > 1:
            reason = f"{name}: {variants} variants of one model (options, weights): give one file"
            yield Row(title=name, metric=metric, reason=reason)
        elif timed and len(machines) > 1:
            reason = f"{name} {metric}: measured on different machines"
            yield Row(title=name, metric=metric, reason=reason)
        else:
            row = stored_row(name, metric, a, b, beside)
            yield with_retraining(row, (first.case, good[1][-1].case), beside)


def case_title(case: Mapping[str, Any]) -> str:
    """Return a stored case in a few words."""
    words = (f"{size_of(case)}px", f"b{case['batch']}", case["dtype"], case["mode"])
    return " ".join((case["model"], *words))


def variant(record: Record) -> str:
    """Return what distinguishes two cases of one model: options and weights."""
    return canonical([record.case["options"], record.case["weights"]])


def metrics(sides: Sequence[Sequence[Record]], peak: str) -> list[str]:
    """Return the metrics that both sides read and that have a direction."""
    names = [{r.metric for record in side for r in record.readings} for side in sides]
    return sorted(
        name for name in set.intersection(*names) if name in {*SPEED, peak} or is_headline(name)
    )


def readings(records: Sequence[Record], metric: str) -> list[Reading]:
    """Return what the trials read of one metric."""
    return [
        reading
        for record in records
        for reading in record.readings
        if reading.metric == metric and reading.value is not None
    ]


def stored_row(
    name: str, metric: str, a: Sequence[Reading], b: Sequence[Reading], beside: Beside
) -> Row:
    """Return one row from stored readings: of trials, of paired images, or of values with intervals."""
    result, found = None, None
    if not of_family(metric, "quality"):
        result = of_trials([r.value or 0 for r in a], [r.value or 0 for r in b])
    elif (found := beside.difference(a[-1], b[-1])) is not None:
        result = of_difference(found)
    elif a[-1].low is not None and b[-1].low is not None:
        result = of_intervals(bounds(a[-1]), bounds(b[-1]))
    values = [[r.value for r in a], [r.value for r in b]]
    return Row(
        title=name,
        metric=metric,
        result=result,
        values=values,
        noise_from="the trials",
        difference=found,
    )


def with_retraining(row: Row, cases: Sequence[Mapping[str, Any]], beside: Beside) -> Row:
    """Return a row of quality with what training again would do to its difference."""
    found = row.difference
    if found is None or not is_distance(row.metric):
        return row
    known = beside.retraining(cases, row.metric, (found.a, found.b), (found.low, found.high))
    return dataclasses.replace(row, retraining=known)


def bounds(reading: Reading) -> tuple[float, float, float]:
    """Return a reading's value and interval."""
    return reading.value or 0.0, reading.low or 0.0, reading.high or 0.0


def difference_document(found: Difference) -> dict[str, Any]:
    """Return a difference as JSON values."""
    derived = ("change", "low", "high", "smallest", "p")
    return dataclasses.asdict(found) | {name: getattr(found, name) for name in derived}


def document(row: Row) -> dict[str, Any]:
    """Return the row as JSON values."""
    extra = {
        "verdict": row.verdict,
        "confirmed": row.confirmed and row.verdict == row.kind,
        "kind": row.kind,
    }
    if row.result is not None:
        extra |= {"margin": row.result.margin, "resolvable": row.result.resolvable}
    if row.difference is not None:
        extra["difference"] = difference_document(row.difference)
    return dataclasses.asdict(row) | extra
