"""Flags of the command line from their declarations in `values/case`: one home for both."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

from sfbench.cli import defaults
from sfbench.cli.commands.completion import COMPLETERS
from sfbench.values.case import Request

Command = Callable[..., None]
HINTS = typing.get_type_hints(Request)
LISTS = [name for name, kind in HINTS.items() if kind == tuple[str, ...]]
"""Flags that may be repeated."""


def option_of(name: str) -> Any:
    """Return what typer has to know of a declared flag."""
    declared = {field.name: field for field in dataclasses.fields(Request)}[name]
    callback = defaults.device_flag if name == "device" else None
    flag = f"--{name.replace('_', '-')}"
    return typer.Option(
        flag,
        help=declared.metadata["help"],
        callback=callback,
        rich_help_panel=declared.metadata["panel"],
        autocompletion=COMPLETERS.get(name),
    )


def given_flags(context: typer.Context) -> list[str]:
    """Return which flags of a request are on the command line."""
    names = [field.name for field in dataclasses.fields(Request)]
    sources = {name: context.get_parameter_source(name) for name in names}
    given = [name for name, source in sources.items() if source and source.name == "COMMANDLINE"]
    return [f"--{name.replace('_', '-')}" for name in given]


def with_request(*names: str, **fixed: Any) -> Callable[[Command], Command]:
    """Return a decorator that gives a command the flags of these fields of Request, or of all.

    The command receives them as `request`. `fixed` are values of other fields, and defaults of
    flags where they are not the declared ones. The command's own flags come after them. Where only
    some fields are flags, the model is required.
    """
    fields = [f for f in dataclasses.fields(Request) if not names or f.name in names]
    flags = [parameter_of(field, fixed, required=bool(names)) for field in fields]

    def decorated(command: Command) -> Command:
        own = inspect.signature(command, eval_str=True).parameters.values()
        empty = inspect.Parameter.empty
        asked = [one for one in own if one.default is empty and one.name != "request"]
        rest = [one for one in own if one.default is not empty]

        @functools.wraps(command)
        def run(**given: Any) -> None:
            values = fixed | {flag.name: given.pop(flag.name) for flag in flags}
            lists = {name: tuple(values.get(name) or ()) for name in LISTS}
            request = Request(**values | lists)
            command(request=request, **given)

        only = inspect.Parameter.KEYWORD_ONLY
        parameters = [one.replace(kind=only) for one in (*asked, *flags, *rest)]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # for typer
        run.__annotations__ = {one.name: one.annotation for one in parameters}
        return run

    return decorated


def parameter_of(
    field: dataclasses.Field[Any], replaced: Mapping[str, Any], *, required: bool
) -> inspect.Parameter:
    """Return a declared flag as a parameter."""
    kind, default = HINTS[field.name], replaced.get(field.name, field.default)
    if kind == tuple[str, ...]:
        kind, default = list[str] | None, None
    if default is dataclasses.MISSING:
        default = inspect.Parameter.empty if required else ""
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[kind, option_of(field.name)],
    )
