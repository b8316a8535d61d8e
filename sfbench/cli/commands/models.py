"""Commands about one model: sample from it, check its contract, convert its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sfbench.cli import defaults, sound
from sfbench.cli.commands.flags import (
    AsJson,
    NoPlugins,
    Options,
    Plugins,
    StoreFolder,
)
from sfbench.cli.commands.once import Once
from sfbench.cli.commands.request_flags import with_request
from sfbench.cli.commands.root import app
from sfbench.values.case import Request


@app.command("sample", cls=Once)
@with_request("model", "res", "option", "weights", "seed", "device", measure="memory")
def sample_command(
    request: Request,
    output: Annotated[Path, typer.Option("-o", "--output", help="PNG file to write.")],
    seeds: Annotated[str, typer.Option(help="Seeds, e.g. 0-15 or 1,5,7.")] = "0-15",
    plugin: Plugins = None,
    no_plugin: NoPlugins = None,
) -> None:
    """Draw images from seeds as one PNG grid."""
    from sfbench.cli import drawing

    typer.echo(drawing.grid(request, seeds, output, defaults.located(plugin), no_plugin or []))


@app.command("inspect", cls=Once)
@with_request("model", "res", "option", "weights", "samples", "seed", "device")
def inspect_command(
    request: Request,
    seeds: Annotated[str, typer.Option(help="Seeds, e.g. 0-7 or 1,5,7.")] = "0-7",
    data: Annotated[
        str | None,
        typer.Option(help="Show the nearest real images among these: shapes, or any container."),
    ] = None,
    store: StoreFolder = defaults.STORE,
    plugin: Plugins = None,
    no_plugin: NoPlugins = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Draw samples, truncation, mixing, interpolation, attention and nearest real images."""
    from sfbench.cli import drawing

    look = drawing.Look(
        request=request,
        seeds=seeds,
        data=data,
        store=store,
        plugins=tuple(defaults.located(plugin)),
        disabled=tuple(no_plugin or ()),
    )
    raise typer.Exit(drawing.inspect(look, as_json=as_json))


@app.command("check", cls=Once)
def check_command(
    target: Annotated[str, typer.Argument(help="Name of a model, or a plugin FILE.py.")],
    res: Annotated[int | None, typer.Option(help="Resolution in pixels.")] = None,
    option: Options = None,
    weights: Annotated[
        Path | None, typer.Option(help="File or folder of weights; otherwise random.")
    ] = None,
    plugin: Plugins = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Check a model against the plugin contract."""
    if weights is not None:
        sound.check_file(weights, "a file or folder of weights")
    from sfbench.cli import checking

    raise typer.Exit(
        checking.check(
            target, res, option or [], weights, defaults.located(plugin), as_json=as_json
        )
    )


@app.command("convert", cls=Once)
def convert_command(
    source: Annotated[Path, typer.Argument(help="Snapshot (.pkl) or other checkpoint.")],
    target: Annotated[Path, typer.Argument(help="File to write (.safetensors).")],
    plugin: Plugins = None,
) -> None:
    """Rewrite published weights as safetensors; nothing in the file is executed."""
    from sfbench.cli import converting

    typer.echo(converting.convert(source, target, defaults.located(plugin)))
