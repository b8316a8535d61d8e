"""Which input of a graph is the latent, which the labels, which noise: by name, type and shape."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from sfbench.api.errors import UsageError
from sfbench.api.output_form import LAYOUTS, RANGES
from sfbench.api.spec import Option, OptionValue

LABEL_NAMES = re.compile(r"c|y|labels?|class(es)?|class_?(labels?|ids?|idx)|one_?hot|cond(ition)?")
NOISE_NAMES = re.compile(r".*noises?([_.:]?\d+)*|n\d+")
WHOLE = frozenset({"int64", "int32"})
FLOATING = frozenset({"float32", "float16", "bfloat16", "float64"})

GRAPH_OPTIONS = (
    Option(name="latent", kind="str", default="", help="input that takes z [default: found]"),
    Option(name="labels", kind="str", default="", help="input that takes labels [default: found]"),
    Option(
        name="noise", kind="str", default="", help="inputs that take noise, A+B [default: found]"
    ),
    Option(name="constants", kind="str", default="", help="values of other inputs, A:0.7+B:1"),
    Option(name="latent_shape", kind="ints", help="shape of z, where the graph does not say"),
    Option(
        name="classes", kind="int", least=0, default=0, help="classes, where labels are numbers"
    ),
    Option(
        name="distribution",
        kind="str",
        default="normal",
        choices=("normal", "uniform"),
        help="distribution of z: N(0, 1), or uniform in [-1, 1]",
    ),
    Option(
        name="range",
        kind="str",
        default="",
        choices=("", *RANGES),
        help="range of the output: [-1, 1], [0, 1] or 0..255 [default: found on 16 images]",
    ),
    Option(
        name="layout",
        kind="str",
        default="",
        choices=("", *LAYOUTS),
        help="layout of the output [default: found]",
    ),
    Option(name="output", kind="str", default="", help="output that holds the images"),
)
"""Options of every kind of model that is a graph with named inputs."""


@dataclasses.dataclass(frozen=True, slots=True)
class GraphInput:
    """One input: its name, torch's name of its type, and its shape; None is a free dimension."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]

    def __str__(self) -> str:
        """Return it as an error message shows it."""
        dims = ", ".join("?" if size is None else str(size) for size in self.shape)
        return f"{self.name} {self.dtype}[{dims}]"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """The inputs by what they take. `batch`: the number of images that the graph is fixed to."""

    latent: GraphInput
    latent_shape: tuple[int, ...]
    labels: GraphInput | None
    classes: int
    noise: tuple[GraphInput, ...]
    noise_shapes: tuple[tuple[int, ...], ...]
    constants: Mapping[GraphInput, float]
    batch: int | None

    @property
    def one_hot(self) -> bool:
        """Whether labels are one-hot vectors, not class numbers."""
        return self.labels is not None and self.labels.dtype in FLOATING

    def described(self) -> dict[str, Any]:
        """Return which input takes what, for records."""
        return {
            "latent": str(self.latent),
            "labels": None if self.labels is None else str(self.labels),
            "noise": [str(one) for one in self.noise],
            "constants": {one.name: value for one, value in self.constants.items()},
            "batch": self.batch or "any",
        }


def roles_of(inputs: Sequence[GraphInput], options: Mapping[str, OptionValue], where: str) -> Roles:
    """Return the roles of a graph's inputs, as the options say or as names and shapes tell.

    Raises UsageError, naming the inputs, where that leaves a choice open.
    """
    by_name = {one.name: one for one in inputs}
    there = f"{where} has the inputs {', '.join(map(str, inputs)) or 'none'}"

    def named(option: str) -> list[GraphInput]:
        names = [name for name in str(options[option] or "").split("+") if name]
        for name in names:
            if name not in by_name:
                msg = f"--option {option}={name}: {there}"
                raise UsageError(msg)
        return [by_name[name] for name in names]

    constants = {by_name[name]: value for name, value in constants_of(options, by_name, there)}
    left = [one for one in inputs if one not in constants]
    said = {option: named(option) for option in ("latent", "labels", "noise")}
    listed = [*constants, *(one for found in said.values() for one in found)]
    taken = set(listed)
    if len(taken) < len(listed):
        twice = next(one for one in listed if listed.count(one) > 1)
        msg = f"{twice.name} is given two roles; {there}"
        raise UsageError(msg)
    noise = said["noise"] or [
        one for one in left if one not in taken and NOISE_NAMES.fullmatch(one.name.lower())
    ]
    left = [one for one in left if one not in noise]
    labels = said["labels"] or [
        one for one in left if one not in taken and seems_labels(one, alone=len(left) == 1)
    ]
    left = [one for one in left if one not in labels]
    latent = said["latent"] or left
    if len(latent) != 1 or len(labels) > 1 or set(left) - set(latent):
        msg = (
            f"{there}; which takes what is open: say it with --option latent=NAME, labels=NAME, "
            "noise=NAME+NAME, constants=NAME:NUMBER"
        )
        raise UsageError(msg)
    batch = latent[0].shape[0] if latent[0].shape else None
    if batch is not None and batch < 1:
        msg = f"{there}; expected room for one image or more"
        raise UsageError(msg)
    given = options["latent_shape"]
    shape = given if isinstance(given, tuple) else latent[0].shape[1:]
    return Roles(
        latent=latent[0],
        latent_shape=whole(shape, latent[0], there),
        labels=labels[0] if labels else None,
        classes=classes_of(labels[0], options, there) if labels else 0,
        noise=tuple(noise),
        noise_shapes=tuple(whole(one.shape[1:], one, there) for one in noise),
        constants=constants,
        batch=batch,
    )


def unshaped_inputs(
    names: Sequence[str], options: Mapping[str, OptionValue], dtype: str
) -> list[GraphInput]:
    """Return inputs known by name alone: labels are one-hot of `classes`, others of open shape."""
    classes = int(str(options["classes"] or 0))
    found = []
    for name in names:
        labels = name == options["labels"] or LABEL_NAMES.fullmatch(name.lower())
        found.append(GraphInput(name, dtype, (None, classes if labels and classes else None)))
    return found


def seems_labels(one: GraphInput, *, alone: bool) -> bool:
    """Return whether an input takes labels: whole numbers, or a name that says so."""
    if one.dtype in WHOLE and len(one.shape) in {1, 2}:
        return True
    return not alone and LABEL_NAMES.fullmatch(one.name.lower()) is not None


def constants_of(
    options: Mapping[str, OptionValue], by_name: Mapping[str, GraphInput], there: str
) -> list[tuple[str, float]]:
    """Return the values that the option gives other inputs."""
    found: list[tuple[str, float]] = []
    for text in filter(None, str(options["constants"] or "").split("+")):
        name, _, value = text.rpartition(":")
        number = number_of(value)
        asked = by_name.get(name)
        whole_only = asked is not None and asked.dtype not in FLOATING
        fits = number is not None and not (whole_only and number != round(number))
        if number is None or not fits or asked is None or name in {one for one, _ in found}:
            wanted = "expected NAME:NUMBER, once each, a whole number for an input of such"
            msg = f"--option constants={text}: {wanted}; {there}"
            raise UsageError(msg)
        found.append((name, number))
    return found


def number_of(text: str) -> float | None:
    """Return a finite number, or None."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def classes_of(labels: GraphInput, options: Mapping[str, OptionValue], there: str) -> int:
    """Return the number of classes: the width of one-hot labels, or what the option says."""
    given = int(str(options["classes"] or 0))
    width = labels.shape[1] if len(labels.shape) > 1 else None
    if labels.dtype in FLOATING and width is not None:
        if given not in {0, width}:
            msg = f"--option classes={given}: {there}"
            raise UsageError(msg)
        return width
    if given < 1:
        msg = (
            f"{there}; how many classes {labels.name} takes is open: say it with --option classes=N"
        )
        raise UsageError(msg)
    return given


def whole(shape: Sequence[int | None], one: GraphInput, there: str) -> tuple[int, ...]:
    """Return a shape without free dimensions; raises UsageError for one that has some."""
    if any(size is not None and size < 1 for size in shape):
        msg = f"the shape {tuple(shape)} of {one.name}: expected numbers above 0; {there}"
        raise UsageError(msg)
    if any(size is None for size in shape):
        msg = (
            f"{there}; the size of {one.name} is open: export it with fixed sizes but for the batch"
        )
        if "latent_shape" not in msg:
            msg += ", or give --option latent_shape=N for z"
        raise UsageError(msg)
    return tuple(int(size) for size in shape if size is not None)
