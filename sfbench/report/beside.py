"""What stores know beside their records: influences of images, and variance over training."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sfbench.quality.influence_files import read_influences
from sfbench.quality.influences import NORMAL_95, Difference, Influences, difference
from sfbench.store.lotteries import Lottery, read_lottery
from sfbench.values.records import Reading


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Retraining:
    """What training again would do to B less A; None where nobody measured it.

    `a`, `b`: standard deviations over runs of training, as far as known. `low`, `high`: the 95 %
    interval of the difference that training again would give.
    """

    a: float | None = None
    b: float | None = None
    low: float | None = None
    high: float | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Beside:
    """The stores of the two sides; none: nothing is known beside the records."""

    stores: tuple[Path, ...] = ()

    def difference(self, *readings: Reading) -> Difference | None:
        """Return the difference of two readings whose images are paired; None if they cannot be."""
        found = [
            influences_of(store, reading)
            for store, reading in zip(self.stores, readings, strict=False)
        ]
        if len(found) != len(readings) or found[0] is None or found[1] is None:
            return None
        return difference(found[0], found[1])

    def retraining(
        self,
        cases: Sequence[Mapping[str, Any]],
        metric: str,
        values: tuple[float, float],
        bounds: tuple[float, float],
    ) -> Retraining | None:
        """Return what training again would do to a difference with these 95 % bounds.

        None for sides of the same weights, or without stores.
        """
        if not self.stores or cases[0]["weights"] == cases[1]["weights"]:
            return None
        spreads = [
            spread_of(read_lottery(store, case, metric), value)
            for store, case, value in zip(self.stores, cases, values, strict=True)
        ]
        return retrained(spreads[0], spreads[1], bounds)


def influences_of(store: Path, reading: Reading) -> Influences | None:
    """Return the influences of a reading; None where they are missing, or are of another one."""
    found = read_influences(store, reading.how.get("influences"))
    if found is None:
        return None
    counts = reading.how.get("generated"), reading.how.get("real")
    real = counts[1] if found.real is None else len(found.real)
    fits = (found.value, found.debiased) == (reading.value, reading.how.get("debiased"))
    return found if fits and (len(found.own), real) == counts else None


def spread_of(found: Lottery | None, value: float) -> float | None:
    """Return the standard deviation over training of a model with this value.

    As a share of the value: the runs of a lottery may have been shorter.
    """
    if found is None or not found["mean"]:
        return None
    return found["between"]["value"] / abs(found["mean"]) * abs(value)


def retrained(a: float | None, b: float | None, bounds: tuple[float, float]) -> Retraining:
    """Return the difference that training again would give, if both sides' variance is known."""
    if a is None or b is None:
        return Retraining(a=a, b=b)
    middle, half = (bounds[0] + bounds[1]) / 2, (bounds[1] - bounds[0]) / 2
    wide = math.hypot(half, NORMAL_95 * a, NORMAL_95 * b)
    return Retraining(a=a, b=b, low=middle - wide, high=middle + wide)
