"""Which value of a knob to measure next: coarse first, then where the curve of quality bends.

The curve is looked at in logarithms of cost and distance, where a bend is one of proportions. Where
all values cost the same, the knob itself is the axis.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from sfbench.values.frontier import Point, cost_alike
from sfbench.values.sweeps import Range

WIDE_GAP = 0.25
LAST = 1e-3
"""Factor by which gaps between overlapping intervals count less than others."""


def first_values(within: Range) -> list[float]:
    """Return the values to begin with: both ends and the middle."""
    middle = within.between(within.low, within.high)
    return [within.low, *([] if middle is None else [middle]), within.high]


def next_value(points: Sequence[Point], within: Range) -> float | None:
    """Return the value to measure next; None where no more would be seen.

    Of the gaps between neighbors, the one in which the curve may hide most: its length times how
    far the curve turns at its ends. A gap between overlapping intervals is left alone once it is no
    more than a quarter of the range; wider ones come last.
    """
    order = sorted(points, key=lambda point: point.value)
    places = positions(order)
    best, chosen = 0.0, None
    for index, (first, second) in enumerate(itertools.pairwise(order)):
        middle = within.between(first.value, second.value)
        share = within.share(first.value, second.value)
        if middle is None or (first.overlaps(second) and share <= WIDE_GAP):
            continue
        turn = max(turning(places, index), turning(places, index + 1))
        worth = math.dist(places[index], places[index + 1]) * (1 + turn)
        if first.overlaps(second):
            worth = share * LAST
        if worth > best:
            best, chosen = worth, middle
    return chosen


def positions(order: Sequence[Point]) -> list[tuple[float, float]]:
    """Return the points on the curve, each axis scaled to the range from 0 to 1."""
    alike = cost_alike(order)
    across = [point.value if alike else math.log(point.cost) for point in order]
    down = [math.log(max(point.distance, 1e-12)) for point in order]
    return list(zip(scaled(across), scaled(down), strict=True))


def scaled(values: Sequence[float]) -> list[float]:
    """Return values from 0 to 1; all 0 where they are equal."""
    low, span = min(values), max(values) - min(values)
    return [(value - low) / span if span else 0.0 for value in values]


def turning(places: Sequence[tuple[float, float]], index: int) -> float:
    """Return how far the curve turns at a point, from 0 (straight on) to 1 (back); 0 at its ends."""
    if not 0 < index < len(places) - 1:
        return 0.0
    before, here, after = places[index - 1 : index + 2]
    angles = [
        math.atan2(second[1] - first[1], second[0] - first[0])
        for first, second in ((before, here), (here, after))
    ]
    turn = abs(angles[1] - angles[0])
    return min(turn, 2 * math.pi - turn) / math.pi
