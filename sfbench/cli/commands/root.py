"""The command line itself, and commands that list models, plugins and this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from sfbench import __version__
from sfbench.cli import defaults
from sfbench.cli.commands.completion import single
from sfbench.cli.commands.flags import AsJson, NoPlugins, Plugins, launcher_of
from sfbench.cli.commands.once import Grouped, Once

app = typer.Typer(
    name="sfbench",
    cls=Grouped,
    help="Measure image generators: quality, throughput, memory, over resolutions.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

LISTED = (
    "models", "weights", "presets", "data", "extractors", "protocols", "suites", "metrics",
)  # fmt: skip
LISTS = "models, weights, presets, data, extractors, protocols, suites or metrics"


def version(*, wanted: bool) -> None:
    """Print the version and stop."""
    if wanted:
        typer.echo(f"sfbench {__version__}")
        raise typer.Exit


@app.callback()
def root(
    *,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=lambda wanted: version(wanted=wanted), is_eager=True),
    ] = False,
) -> None:
    """Measure image generators: quality, throughput, memory, over resolutions."""


@app.command("list", cls=Once)
def list_command(
    what: Annotated[
        str,
        typer.Argument(
            help="models, weights, presets, data, extractors, protocols, suites, metrics",
            autocompletion=lambda incomplete: single(LISTED, incomplete),
        ),
    ] = "models",
    plugin: Plugins = None,
    no_plugin: NoPlugins = None,
    *,
    as_json: AsJson = False,
) -> None:
    """List models, or what WHAT names."""
    from sfbench.cli import listing

    catalogue = defaults.catalogue(plugin, no_plugin)
    typer.echo(listing.listed(catalogue, what, as_json=as_json))


@app.command("plugins", cls=Once)
def plugins_command(
    plugin: Plugins = None, no_plugin: NoPlugins = None, *, as_json: AsJson = False
) -> None:
    """List plugins; broken ones with the reason."""
    from sfbench.cli import listing

    typer.echo(listing.plugins(defaults.catalogue(plugin, no_plugin), as_json=as_json))


@app.command("doctor", cls=Once)
def doctor_command(
    context: typer.Context,
    plugin: Plugins = None,
    no_plugin: NoPlugins = None,
    model: Annotated[
        str, typer.Option(help="With --aa: the model to time, MODEL[,key=value]...")
    ] = "synthetic",
    quads: Annotated[int, typer.Option(help="With --aa: number of quads of new processes.")] = 8,
    *,
    aa: Annotated[
        bool, typer.Option("--aa", help="Measure this machine's noise floor (takes minutes).")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show what may disturb or limit measurements on this machine; changes nothing."""
    from sfbench.cli import doctor

    catalogue = defaults.catalogue(plugin, no_plugin)
    if aa:
        from sfbench.cli import noise_floor

        text = noise_floor.examined(
            model,
            quads,
            tuple(defaults.located(plugin)),
            tuple(no_plugin or ()),
            launcher_of(context),
            as_json=as_json,
        )
        typer.echo(text)
        return
    typer.echo(doctor.examined(catalogue, as_json=as_json))
