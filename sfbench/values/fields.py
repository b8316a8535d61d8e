"""How a field of a request or case is declared: once, with everything that derives from it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

Role = Literal["identity", "quality", "speed", "hidden"]
"""identity: equal inputs mean the same measurement. quality: the same, where quality is measured,
and None elsewhere. speed: the same, where anything but quality is measured. hidden: known, but no
part of what is measured."""
Mark = Literal["column", "headline", "images", "training", "local"]
"""column: a column of reports. headline: a column that is told in a row's title; rows of one title
may differ in the others. images: it decides what images are made. training: it decides how weights
are trained. local: it comes from the machine that measures, not from a suite."""


Panel = Literal["Model", "Case", "Images and quality", "Timing"]
"""Under which heading the help of a command shows a flag."""


def flag(
    default: Any,
    *,
    help: str,  # noqa: A002  # its usual name
    panel: Panel,
    least: float | None = None,
    most: float | None = None,
    suites: bool = True,
) -> Any:
    """Declare a flag of `sfbench run`: its default, help, heading, least and largest value.

    The flag, the key of a suite, and the command that is printed for a row derive from it.
    `suites`: whether a suite file, perhaps a stranger's, may set it.
    """
    metadata = {"help": help, "least": least, "most": most, "suites": suites, "panel": panel}
    return dataclasses.field(default=default, metadata=metadata)


def part(
    *marks: Mark,
    role: Role = "identity",
    default: Any = dataclasses.MISSING,
    omitted: bool = True,
    stored: Callable[[Any], Any] = lambda value: value,
    read: Callable[[Any], Any] = lambda value: value,
) -> Any:
    """Declare a part of a case.

    `stored`: how it stands among the canonical inputs. `read`: what makes it anew from a job's
    JSON. `omitted`: where it has its default it is left out of the inputs, so that records from
    before it was added stay valid.
    """
    metadata = {
        "role": role,
        "marks": frozenset(marks),
        "omitted": omitted and default is not dataclasses.MISSING,
        "stored": stored,
        "read": read,
    }
    return dataclasses.field(default=default, metadata=metadata)


def names(kind: type, *marks: Mark) -> tuple[str, ...]:
    """Return the names of a declaration's fields that have one of these marks; without any, all."""
    fields = dataclasses.fields(kind)
    wanted = set(marks)
    return tuple(f.name for f in fields if not wanted or wanted & f.metadata["marks"])


def of_role(kind: type, role: Role) -> tuple[str, ...]:
    """Return the names of a declaration's fields of that role."""
    return tuple(f.name for f in dataclasses.fields(kind) if f.metadata["role"] == role)


def inputs_of(value: Any, measures: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Yield the canonical inputs of a declared value: names, and values as JSON holds them."""
    for field in dataclasses.fields(value):
        role, found = field.metadata["role"], getattr(value, field.name)
        untimed = role == "speed" and set(measures) == {"quality"}
        if role == "hidden" or untimed or (field.metadata["omitted"] and found == field.default):
            continue
        unjudged = role == "quality" and "quality" not in measures
        yield field.name, None if unjudged else field.metadata["stored"](found)


def read_fields(kind: type, document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a declared value from JSON of all of them."""
    return {
        field.name: field.metadata["read"](document[field.name])
        for field in dataclasses.fields(kind)
    }
