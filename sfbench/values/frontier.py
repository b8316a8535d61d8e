"""A point of a trade-off: what a value of a knob costs, and the quality that it buys."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

SAME_COST = 1.1
"""Costs within this ratio are one."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One measured value of a knob: cost (seconds or bytes) and distance, each with an interval."""

    value: float
    cost: float
    cost_low: float
    cost_high: float
    distance: float
    low: float
    high: float

    def overlaps(self, other: Point) -> bool:
        """Return whether the intervals of the two distances overlap."""
        return self.low <= other.high and other.low <= self.high


def on_front(points: Sequence[Point]) -> list[bool]:
    """Return which points no other clearly beats: better in one, and not worse in the other.

    They differ where their intervals do not overlap, costs also by more than `SAME_COST`.
    """
    return [not any(beats(other, one) for other in points if other is not one) for one in points]


def beats(first: Point, second: Point) -> bool:
    """Return whether the first point is clearly better than the second one, and nowhere worse.

    Nothing is clear of a distance without an interval.
    """
    if not all(map(math.isfinite, (first.low, first.high, second.low, second.high))):
        return False
    better, worse = first.high < second.low, first.low > second.high
    cheaper, dearer = is_cheaper(first, second), is_cheaper(second, first)
    return (better and not dearer) or (cheaper and not worse)


def is_cheaper(first: Point, second: Point) -> bool:
    """Return whether the first point clearly costs less."""
    return first.cost * SAME_COST < second.cost and first.cost_high < second.cost_low


def cost_alike(points: Sequence[Point]) -> bool:
    """Return whether no point clearly costs less than another."""
    return not any(is_cheaper(one, other) for one in points for other in points)
