"""Flags of the command line from their declarations in `values/case`: one home for both."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable
from typing import Annotated, Any

import typer

from sfbench.cli import defaults
from sfbench.values.case import Request

HINTS = typing.get_type_hints(Request)


def option_of(name: str) -> Any:
    """Return what typer has to know of a declared flag."""
    declared = {field.name: field for field in dataclasses.fields(Request)}[name]
    callback = defaults.device_flag if name == "device" else None
    flag = f"--{name.replace('_', '-')}"
    return typer.Option(flag, help=declared.metadata["help"], callback=callback)


def with_request(command: Callable[..., None]) -> Callable[..., None]:
    """Return the command with a flag for every field of Request, from which `request` is made.

    Its own flags come after them. The model may be left out, and is empty text then.
    """
    own = inspect.signature(command, eval_str=True).parameters.values()
    asked = [one for one in own if one.default is inspect.Parameter.empty and one.name != "request"]
    flags = [parameter_of(field) for field in dataclasses.fields(Request)]
    rest = [one for one in own if one.default is not inspect.Parameter.empty]

    @functools.wraps(command)
    def run(**given: Any) -> None:
        fields = {flag.name: given.pop(flag.name) for flag in flags}
        request = Request(**fields | {"option": tuple(fields["option"] or ())})
        command(request=request, **given)

    only = inspect.Parameter.KEYWORD_ONLY
    parameters = [one.replace(kind=only) for one in (*asked, *flags, *rest)]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # typer reads it
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run


def parameter_of(field: dataclasses.Field[Any]) -> inspect.Parameter:
    """Return a declared flag as a parameter."""
    kind, default = HINTS[field.name], field.default
    if kind == tuple[str, ...]:
        kind, default = list[str] | None, None
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default="" if default is dataclasses.MISSING else default,
        annotation=Annotated[kind, option_of(field.name)],
    )
