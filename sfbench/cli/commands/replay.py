"""The command that checks a stored result: by measuring it again, or some of its images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sfbench.api.errors import UsageError
from sfbench.cli import defaults, sound
from sfbench.cli.commands.flags import AsJson, NoPlugins, Plugins, Trust, launcher_of
from sfbench.cli.commands.once import Once
from sfbench.cli.commands.root import app


@app.command("replay", cls=Once)
def replay_command(
    context: typer.Context,
    record: Annotated[Path, typer.Argument(help="JSON file of a record.")],
    weights: Annotated[str | None, typer.Option(help="Weights file that the record names.")] = None,
    data: Annotated[str | None, typer.Option(help="Real images that the record names.")] = None,
    option: Annotated[
        list[str] | None, typer.Option(help="Path of an option that is a file, NAME=PATH.")
    ] = None,
    only: Annotated[
        str | None, typer.Option(help="What to compare, e.g. quality,memory; else everything.")
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="With --spot-check: draw on this device [default: the record's]."),
    ] = None,
    plugin: Plugins = None,
    no_plugin: NoPlugins = None,
    *,
    spot_check: Annotated[
        bool,
        typer.Option(
            "--spot-check", help="Only draw again the images of which the record kept fingerprints."
        ),
    ] = False,
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Measure a stored trial again and check whether the result is the same."""
    sound.check_file(record, "a record, e.g. of results/runs")
    from sfbench.cli import replaying

    given = replaying.Given(
        path=record,
        weights=weights,
        data=data,
        option=tuple(option or ()),
        plugins=tuple(defaults.located(plugin)),
        disabled=tuple(no_plugin or ()),
        trusted=trust,
    )
    if spot_check:
        if only is not None:
            msg = "--only: --spot-check compares images alone; omit one of them"
            raise UsageError(msg)
        raise typer.Exit(replaying.checked_spots(given, device, as_json=as_json))
    if device is not None:
        msg = "--device: a measurement is repeated on the record's device; add --spot-check"
        raise UsageError(msg)
    launcher = launcher_of(context)
    raise typer.Exit(replaying.again(given, only=only, launcher=launcher, as_json=as_json))
