"""Knobs of a model as axes of the grid: "steps=4,8,16" or "steps=4:64*2"."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence

from sfbench.api.errors import UsageError

MOST_VALUES = 1000
DIGITS = 4


@dataclasses.dataclass(frozen=True, slots=True)
class Sweep:
    """An option of a model, and the values that it takes one after the other, as text."""

    name: str
    values: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Range:
    """The values between which a knob may be set; whole numbers if both ends are."""

    low: float
    high: float
    is_whole: bool

    def text(self, value: float) -> str:
        """Return a value as an option takes it."""
        return str(round(value)) if self.is_whole else f"{value:.{DIGITS}g}"

    @property
    def is_wide(self) -> bool:
        """Whether values are halved by ratio: the ends are two doublings apart, or more."""
        return self.low > 0 and self.high / self.low >= 4  # noqa: PLR2004

    def share(self, first: float, second: float) -> float:
        """Return which part of the range lies between two values, by ratio where it is wide."""
        if self.is_wide:
            return math.log(second / first) / math.log(self.high / self.low)
        return (second - first) / (self.high - self.low)

    def between(self, first: float, second: float) -> float | None:
        """Return the value half way, by ratio where the range is wide; None if there is none."""
        middle = math.sqrt(first * second) if self.is_wide else (first + second) / 2
        found = float(self.text(middle))
        return found if first < found < second else None


def parse_sweeps(texts: Sequence[str]) -> list[Sweep]:
    """Return the sweeps that NAME=V1,V2 or NAME=LOW:HIGH[*FACTOR] stand for.

    Raises UsageError for anything else, and for a name given twice.
    """
    found: list[Sweep] = []
    for text in texts:
        name, equals, rest = text.partition("=")
        values = [value for part in rest.split(",") for value in values_of(part, text)]
        if not equals or not name or "" in values:
            msg = f"--sweep {text}: expected NAME=V1,V2 or NAME=LOW:HIGH*FACTOR"
            raise UsageError(msg)
        if any(sweep.name == name for sweep in found):
            msg = f"--sweep {text}: {name} is swept twice"
            raise UsageError(msg)
        found.append(Sweep(name, tuple(dict.fromkeys(values))))
    return found


def values_of(part: str, text: str) -> list[str]:
    """Return the values of one part of a sweep: itself, or those of a range by doubling."""
    if ":" not in part or part.partition(":")[0].strip("-.0123456789"):
        return [part]
    ends, star, factor = part.partition("*")
    within = parse_range(ends, f"--sweep {text}")
    step = number(factor) if star else 2.0
    if step is None or step <= 1 or within.low <= 0:
        msg = f"--sweep {text}: expected LOW:HIGH*FACTOR with LOW > 0 and FACTOR > 1"
        raise UsageError(msg)
    count = math.floor(math.log(within.high / within.low) / math.log(step) + 1e-9) + 1
    if count > MOST_VALUES:
        msg = f"--sweep {text}: {count} values; expected at most {MOST_VALUES}"
        raise UsageError(msg)
    return [within.text(within.low * step**place) for place in range(count)]


def parse_range(text: str, flag: str) -> Range:
    """Return the range LOW:HIGH; raises UsageError for anything else."""
    first, colon, second = text.partition(":")
    low, high = number(first), number(second)
    if not colon or low is None or high is None or not low < high:
        msg = f"{flag}: expected numbers LOW:HIGH with LOW < HIGH"
        raise UsageError(msg)
    whole = all(one.strip().lstrip("-").isdecimal() for one in (first, second))
    return Range(low, high, is_whole=whole)


def number(text: str) -> float | None:
    """Return a finite number, or None."""
    try:
        found = float(text)
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def combinations(sweeps: Sequence[Sweep]) -> list[dict[str, str]]:
    """Return every combination of the values of several sweeps."""
    names = [sweep.name for sweep in sweeps]
    products = itertools.product(*(sweep.values for sweep in sweeps))
    return [dict(zip(names, values, strict=True)) for values in products]
