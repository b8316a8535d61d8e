"""Options derived from a frozen dataclass: names, kinds, defaults and help of its fields."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any

from sfbench.api.spec import Option, OptionKind

KINDS: dict[Any, OptionKind] = {int: "int", float: "float", bool: "bool", str: "str"}


def options_of(settings: type) -> tuple[Option, ...]:
    """Return one option per field of the dataclass `settings`.

    Types: int, float, bool, str, a Literal of words, or one of them or None; `metadata["help"]` is
    the help. Raises TypeError for any other field.
    """
    hints = typing.get_type_hints(settings)
    return tuple(option(field, hints[field.name]) for field in dataclasses.fields(settings))


def option(field: dataclasses.Field[Any], hint: Any) -> Option:
    """Return the option of one field."""
    given = [one for one in typing.get_args(hint) if one is not type(None)]
    optional = type(None) in typing.get_args(hint)
    base = given[0] if optional and len(given) == 1 else hint
    choices = typing.get_args(base) if typing.get_origin(base) is typing.Literal else ()
    kind = KINDS.get(str if choices else base)
    if kind is None:
        msg = f"field {field.name}: {hint} is not a supported option type"
        raise TypeError(msg)
    default = None if field.default is dataclasses.MISSING else field.default
    text = str(field.metadata.get("help", ""))
    return Option(name=field.name, kind=kind, help=text, default=default, choices=choices)
