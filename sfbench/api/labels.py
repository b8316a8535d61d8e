"""How class labels are drawn for generated images: part of the protocol of every quality number."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Literal, Protocol, runtime_checkable

from sfbench.api.errors import UnsupportedError, UsageError

Rule = Literal["uniform", "balanced", "data", "class"]
GOLDEN = (math.sqrt(5) - 1) / 2


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """The rule by which image i gets its class, from seed i alone.

    "uniform": drawn at random, each class with the same probability. "balanced": seed modulo the
    number of classes, so that consecutive seeds give equal counts. "data": with the frequencies
    `counts` of the real images' classes, by a sequence of low discrepancy (multiples of the golden
    ratio), so that counts of consecutive seeds follow the data closely. "class": always `number`.
    """

    rule: Rule = "uniform"
    number: int = 0
    counts: tuple[int, ...] = ()

    def check(self, classes: int) -> None:
        """Raise UnsupportedError where a label is no class of a model with that many classes."""
        most = max(len(self.counts) - 1, self.number)
        if most >= classes:
            msg = f"labels {self.text(classes)}: class {most}, but the model has {classes} classes"
            raise UnsupportedError(msg)

    def of(self, seed: int, classes: int, drawn: int) -> int:
        """Return the class of a seed; `drawn`: the class drawn uniformly from the seed."""
        match self.rule:
            case "uniform":
                return drawn
            case "balanced":
                return seed % max(classes, 1)
            case "class":
                return self.number
            case "data":
                place = math.fmod(seed * GOLDEN, 1.0) * sum(self.counts)
                ends = itertools.accumulate(self.counts)
                return next((k for k, end in enumerate(ends) if place < end), classes - 1)

    def text(self, classes: int) -> str:
        """Return the rule in words, for a model with that many classes."""
        if not classes:
            return "none: the model is unconditional"
        return {
            "uniform": f"uniform over {classes} classes",
            "balanced": f"balanced over {classes} classes",
            "data": f"{classes} classes as often as in the data",
            "class": f"class {self.number} of {classes}",
        }[self.rule]


def parse_labels(text: str) -> Labels:
    """Return the rule that "uniform", "balanced", "data" or "class:N" names, "data" without counts.

    Raises UsageError for anything else.
    """
    match text.partition(":"):
        case ("uniform", "", ""):
            return Labels()
        case ("balanced", "", ""):
            return Labels(rule="balanced")
        case ("data", "", ""):
            return Labels(rule="data")
        case ("class", ":", number) if number.isdecimal():
            return Labels(rule="class", number=int(number))
    msg = f"--labels {text}: expected uniform, balanced, data, or class:N"
    raise UsageError(msg)


@runtime_checkable
class Conditional(Protocol):
    """A generator that can be told how to draw labels; `classes` is 0 of an unconditional one."""

    @property
    def classes(self) -> int:
        """The number of classes."""

    def use_labels(self, labels: Labels) -> None:
        """Draw labels by this rule from now on; raises UnsupportedError for classes it lacks."""
