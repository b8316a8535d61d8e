"""Commands about suites and bundles: results measured together and shared together."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sfbench.cli import defaults, sound
from sfbench.cli.commands.completion import suites
from sfbench.cli.commands.flags import (
    AsJson,
    Imported,
    NoPlugins,
    Plugins,
    Published,
    StoreFolder,
    Timeout,
    Trials,
    origins_of,
    settings_of,
)
from sfbench.cli.commands.once import Once
from sfbench.cli.commands.root import app
from sfbench.cli.exits import Exit

if TYPE_CHECKING:
    from sfbench.values.case import Request

Scale = Annotated[str, typer.Option(help="Scale of the suite: smoke, quick or full.")]
Images = Annotated[
    str, typer.Option("--data", help="Paths of the suite's data sets, NAME=PATH[,NAME=PATH].")
]
Files = Annotated[
    str, typer.Option("--weights", help="Files of the suite's checkpoints, CARD=FILE[,CARD=FILE].")
]
SUITE_HELP = "NAME of sfbench list suites, or FILE.toml."


@app.command("plan", cls=Once)
def plan_command(
    context: typer.Context,
    suite: Annotated[str, typer.Option(help=SUITE_HELP, autocompletion=suites)],
    scale: Scale = "full",
    data: Images = "",
    weights: Files = "",
    trials: Trials = 1,
    timeout: Timeout = 3600.0,
    out: Annotated[
        Path | None, typer.Option(help="Write the plan to this file, for sfbench work.")
    ] = None,
    store: StoreFolder = defaults.STORE,
    plugin: Plugins = None,
    no_plugin: NoPlugins = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Show a suite's cases: which are measured, which are missing, and the expected time."""
    from sfbench.cli import planning

    settings = settings_of(context, store, plugin, no_plugin, trials, timeout, as_json=as_json)
    flags = request_of(data, weights)
    if out is not None:
        raise typer.Exit(planning.written(flags, suite, scale, settings, out))
    raise typer.Exit(planning.planned(flags, suite, scale, settings))


@app.command("reproduce", cls=Once)
def reproduce_command(
    context: typer.Context,
    suite: Annotated[str, typer.Argument(help=SUITE_HELP, autocompletion=suites)],
    scale: Scale = "full",
    data: Images = "",
    weights: Files = "",
    trials: Trials = 1,
    timeout: Timeout = 36000.0,
    store: StoreFolder = defaults.STORE,
    plugin: Plugins = None,
    no_plugin: NoPlugins = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Measure a suite and compare it with published values; cases that did not run get a reason."""
    from sfbench.cli import planning

    settings = settings_of(context, store, plugin, no_plugin, trials, timeout, as_json=as_json)
    raise typer.Exit(planning.reproduced(request_of(data, weights), suite, scale, settings))


@app.command("site", cls=Once)
def site_command(
    out: Annotated[Path, typer.Argument(help="Folder to write.")],
    title: Annotated[str, typer.Option(help="Title of the first page.")] = "sfbench leaderboard",
    store: StoreFolder = defaults.STORE,
    *,
    published: Published = False,
    imported: Imported = False,
) -> None:
    """Write a leaderboard as static pages: an index, and one page per model with its history."""
    origins = origins_of(published=published, imported=imported)
    if not sound.holds_records(store, origins):
        raise typer.Exit(Exit.NOTHING_MEASURED)
    from sfbench.cli import publishing

    raise typer.Exit(publishing.publish(store, out, title, origins))


@app.command("export", cls=Once)
def export_command(
    target: Annotated[str, typer.Argument(help="FILE.zip to write, or mlflow:URI[#EXPERIMENT].")],
    model: Annotated[str | None, typer.Option(help="Export only these models.")] = None,
    res: Annotated[str | None, typer.Option(help="Export only these resolutions.")] = None,
    suite: Annotated[
        str | None, typer.Option(help="Export only this suite's records, with its file.")
    ] = None,
    store: StoreFolder = defaults.STORE,
    plugin: Plugins = None,
    *,
    published: Published = False,
    imported: Imported = False,
) -> None:
    """Export records, page, table, figures and pictures to one file, or send records to MLflow."""
    origins = origins_of(published=published, imported=imported)
    if not sound.holds_records(store, origins):
        raise typer.Exit(Exit.NOTHING_MEASURED)
    from sfbench.cli import sharing

    wanted = sharing.Wanted(model=model, res=res, suite=suite, origins=origins)
    raise typer.Exit(sharing.export(store, target, wanted, defaults.located(plugin)))


@app.command("import", cls=Once)
def import_command(
    bundle: Annotated[Path, typer.Argument(help="Bundle (.zip) of sfbench export.")],
    store: StoreFolder = defaults.STORE,
) -> None:
    """Add a bundle's records and pictures to the store; replaces nothing."""
    sound.check_file(bundle, "a bundle of sfbench export")
    from sfbench.cli import sharing

    raise typer.Exit(sharing.take_in(bundle, store))


def request_of(data: str, weights: str) -> Request:
    """Return the flags that go with a suite."""
    from sfbench.values.case import Request

    plain = Request(model="", device=defaults.device_flag("auto"))
    return dataclasses.replace(plain, data=data or plain.data, weights=weights or plain.weights)
