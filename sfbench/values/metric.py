"""What a metric is declared with; all of them are declared in `metrics`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, Literal

Better = Literal["higher", "lower"]
Family = Literal["speed", "memory", "energy", "complexity", "check", "quality", "search"]
FAMILIES: tuple[Family, ...] = (
    "speed", "memory", "energy", "complexity", "check", "quality", "search",
)  # fmt: skip
"""What is measured, and again, together: see `run/identity`."""

MEBI = 1 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class Column:
    """How tables show a metric: its header, in lines, its factor, and whether only in wide tables."""

    header: str
    factor: float = 1.0
    wide_only: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One thing that can be measured.

    `name`: the whole name, or the part before brackets; `unit`: of stored values; `better`: None
    if neither direction is; `text`: description for the documentation; `needs`: what it requires
    to have a value; `column`: None if tables do not show it; `exact`: equal code
    and inputs give equal values; `moment`: a momentary value on one machine, which varies from
    run to run; `judged`: comparisons give a verdict on it; `noise`: the smallest relative change
    reported in a history, if not the default.
    """

    name: str
    unit: str
    family: Family
    text: str
    better: Better | None = None
    needs: str = ""
    column: Column | None = None
    exact: bool = False
    moment: bool = False
    judged: bool = False
    bracketed: bool = False
    inception: bool = False
    """Whether its name is reserved for Inception-v3 with the published weights."""


def speed(name: str, unit: str, text: str, **more: Any) -> Metric:
    """Return a metric of speed."""
    return Metric(name=name, unit=unit, family="speed", text=text, **more)


def memory(name: str, text: str, **more: Any) -> Metric:
    """Return a metric of memory."""
    return Metric(name=name, unit="bytes", family="memory", text=text, **more)


def quality(name: str, text: str, better: Better | None, **more: Any) -> Metric:
    """Return a metric of quality."""
    return Metric(
        name=name, unit="", family="quality", text=text, better=better, bracketed=True, **more
    )


def latencies(name: str, of: str, columns: dict[str, Column]) -> Iterator[Metric]:
    """Yield the quantiles of a latency."""
    for quantile, needs in (("p50", ""), ("p90", ""), ("p99", "500 calls")):
        yield speed(
            f"{name}.{quantile}",
            "s",
            f"seconds of one call, {of}, {quantile}",
            better="lower",
            needs=needs,
            column=columns.get(quantile),
            moment=True,
        )
