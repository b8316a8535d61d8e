"""One distance in several feature spaces, normalized so that spaces can be averaged and ranked.

FDr is the Frechet distance of generated images to the reference over that of as many held-out real
images: 1 is as near as real images come (arXiv 2604.28190). One space alone favors models that were
trained or tuned towards it; where spaces rank two models differently, none of them decides.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence

from sfbench.quality.influences import NORMAL_95, Difference, Influences, difference


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One set of images in one space: its distance, and that over the held-out images' distance.

    `low`, `high`: the 95 % interval of the ratio; None if there are too few images for one.
    """

    name: str
    distance: float
    ratio: float
    low: float | None
    high: float | None
    rank: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """One feature space: the held-out images' distance, and the sets' standings.

    `reason`: why it has none, or what is wrong with them.
    """

    extractor: str
    metric: str
    held_out: float | None = None
    standings: tuple[Standing, ...] = ()
    reason: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """Two sets that spaces rank differently: in which each is ahead, and whether both are certain."""

    a: str
    b: str
    a_ahead: tuple[str, ...]
    b_ahead: tuple[str, ...]
    certain: bool


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A distance, and the influence of each image on it; None if there are too few images."""

    value: float
    influences: Influences | None


def space_of(
    extractor: str, metric: str, sets: Sequence[tuple[str, Measured]], held_out: Measured
) -> Space:
    """Return the standings of sets, by name, in one space."""
    if not held_out.value > 0:
        reason = "the held-out images are no farther from the reference than rounding"
        return Space(extractor=extractor, metric=metric, held_out=held_out.value, reason=reason)
    ratios = [found.value / held_out.value for _, found in sets]
    standings = []
    for (name, found), ratio in zip(sets, ratios, strict=True):
        low, high = bounds(found, held_out)
        standings.append(
            Standing(
                name=name,
                distance=found.value,
                ratio=ratio,
                low=low,
                high=high,
                rank=1 + sum(other < ratio for other in ratios),
            )
        )
    few = held_out.influences is None
    return Space(
        extractor=extractor,
        metric=metric,
        held_out=held_out.value,
        standings=tuple(standings),
        reason="fewer images than features: ratios are too near 1" if few else None,
    )


def bounds(found: Measured, held_out: Measured) -> tuple[float | None, float | None]:
    """Return the interval of a ratio; both distances share the reference."""
    change = change_of(held_out, found)
    if change is None or change.log_error is None:
        return None, None
    spread = math.exp(NORMAL_95 * change.log_error)
    ratio = found.value / held_out.value
    return ratio / spread, ratio * spread


def change_of(a: Measured, b: Measured) -> Difference | None:
    """Return how far b's distance is from a's, with its error."""
    if a.influences is None or b.influences is None:
        return None
    one, other = (
        dataclasses.replace(found.influences, value=found.value, debiased=None)
        for found in (a, b)
        if found.influences is not None
    )
    return difference(one, other)


def mean_ratio(spaces: Sequence[Space], name: str) -> float | None:
    """Return the mean FDr of a set over the spaces that have one; None without any."""
    ratios = [one.ratio for space in spaces for one in space.standings if one.name == name]
    return math.fsum(ratios) / len(ratios) if ratios else None


def flips(
    names: Sequence[str], measured: Sequence[tuple[str, dict[str, Measured]]]
) -> Iterator[Flip]:
    """Yield the pairs of sets that spaces rank differently.

    `measured`: each space's name, and what was measured in it by the set's name. Certain: one is ahead
    in some space and behind in another, each with 95 % certainty.
    """
    for a, b in itertools.combinations(names, 2):
        ahead: dict[bool, list[str]] = {True: [], False: []}
        sure = set()
        for space, found in measured:
            one, other = found[a], found[b]
            if one.value == other.value:
                continue
            first = one.value < other.value
            ahead[first].append(space)
            change = change_of(one, other)
            if change is not None and not change.low <= 0 <= change.high:
                sure.add(first)
        if ahead[True] and ahead[False]:
            yield Flip(
                a=a,
                b=b,
                a_ahead=tuple(ahead[True]),
                b_ahead=tuple(ahead[False]),
                certain=len(sure) > 1,
            )
