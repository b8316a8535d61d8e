"""Commands about one model: sample from it, check its contract, convert its weights."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from sfbench.api.errors import UsageError
from sfbench.cli import defaults, sound
from sfbench.cli.commands.flags import (
    AsJson,
    NoPlugins,
    Options,
    Plugins,
    StoreFolder,
    Trust,
)
from sfbench.cli.commands.once import Once
from sfbench.cli.commands.request_flags import given_flags, with_request
from sfbench.cli.commands.root import app
from sfbench.values.case import Request


@app.command("sample", cls=Once)
@with_request("model", "res", "option", "weights", "seed", "device", "trust", measure="memory")
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
@with_request("model", "res", "option", "weights", "samples", "seed", "device", "trust")
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
    target: Annotated[str, typer.Argument(help="Name of a model, KIND:PATH, or a plugin FILE.py.")],
    res: Annotated[int | None, typer.Option(help="Resolution in pixels.")] = None,
    option: Options = None,
    weights: Annotated[
        Path | None, typer.Option(help="File or folder of weights; otherwise random.")
    ] = None,
    plugin: Plugins = None,
    *,
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Check a model against the plugin contract."""
    if weights is not None:
        sound.check_file(weights, "a file or folder of weights")
    from sfbench.cli import checking

    raise typer.Exit(
        checking.check(
            checking.Target(
                name=target,
                resolution=res,
                options=tuple(option or ()),
                weights=weights,
                plugins=tuple(defaults.located(plugin)),
                trusted=trust,
            ),
            as_json=as_json,
        )
    )


@app.command("convert", cls=Once)
@with_request("option", "device", res="", model="", measure="memory", batch="1")
def convert_command(
    context: typer.Context,
    source: Annotated[
        str, typer.Argument(help="Weights: a file, a training run, or a name of list weights.")
    ],
    target: Annotated[
        Path, typer.Argument(help="File to write: .safetensors, .onnx or .pt2 (torch.export).")
    ],
    request: Request,
    model: Annotated[
        str, typer.Option(help="For a graph: the model, where the weights do not say it.")
    ] = "",
    res: Annotated[
        str, typer.Option(help="For a graph: the resolution, where the weights do not say it.")
    ] = "",
    plugin: Plugins = None,
) -> None:
    """Rewrite weights as safetensors, running nothing in them, or a generator as a graph."""
    from sfbench.cli import converting

    if target.suffix == converting.WEIGHTS:
        given = given_flags(context)
        if given:
            msg = f"{given[0]} is for graphs; weights are rewritten as they are"
            raise UsageError(msg)
        typer.echo(converting.convert(Path(source), target, defaults.located(plugin)))
        return
    converting.check_target(target)
    from sfbench.cli import graph_writing

    asked = dataclasses.replace(request, model=model, res=res)
    typer.echo(graph_writing.write_graph(source, target, asked, defaults.located(plugin)))
