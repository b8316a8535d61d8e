"""What is to be measured: a plan of cases, and the numbers that a command line names them by."""

from __future__ import annotations

import dataclasses

from sfbench.api.errors import UsageError
from sfbench.values.case import Case

LARGEST_RESOLUTION = 8192
MOST_IMAGES = 4096
"""Of one picture."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Cases, how many new processes measure each, and the time limit of one."""

    cases: tuple[Case, ...]
    trials: int = 1
    timeout_seconds: float = 3600.0


def parse_resolutions(text: str) -> tuple[int, ...]:
    """Return the sides that "32,64" or "32:256*2" (from:to*factor) stand for.

    Raises UsageError for anything else.
    """
    sides: list[int] = []
    for part in text.split(","):
        sides += _range(part) if ":" in part else [_side(part, part)]
    return tuple(dict.fromkeys(sides))


def _range(part: str) -> list[int]:
    first, _, rest = part.partition(":")
    last, star, factor = rest.partition("*")
    start, stop = _side(first, part), _side(last, part)
    step = _side(factor, part) if star else 2
    if step < 2 or stop < start:  # noqa: PLR2004  # a factor of 1 would never arrive
        msg = f"resolution {part}: expected FROM:TO*FACTOR with TO >= FROM and FACTOR >= 2"
        raise UsageError(msg)
    sides = [start]
    while sides[-1] * step <= stop:
        sides.append(sides[-1] * step)
    return sides


def _side(text: str, part: str) -> int:
    if not text.strip().isdecimal() or not 1 <= int(text) <= LARGEST_RESOLUTION:
        msg = f"resolution {part!r}: expected pixels, e.g. 32, or 32,64, or 32:256*2"
        raise UsageError(msg)
    return int(text)


def parse_seeds(text: str) -> list[int]:
    """Return the seeds that "0-15" or "1,5,7" stand for; raises UsageError for anything else."""
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        ends = [first, last] if dash else [first, first]
        if not all(end.strip().isdecimal() for end in ends) or int(ends[1]) < int(ends[0]):
            msg = f"--seeds {text}: expected whole numbers, e.g. 0-15 or 1,5,7"
            raise UsageError(msg)
        if int(ends[1]) - int(ends[0]) >= MOST_IMAGES:
            msg = f"--seeds {text}: expected at most {MOST_IMAGES} images"
            raise UsageError(msg)
        seeds += range(int(ends[0]), int(ends[1]) + 1)
    return seeds
