"""The command that measures how different images of one class look."""

from __future__ import annotations

from typing import Annotated

import typer

from sfbench.cli import defaults
from sfbench.cli.commands.flags import (
    AsJson,
    DeviceName,
    LpipsWeights,
    NoPlugins,
    Options,
    Plugins,
    Threads,
    Trust,
    VggWeights,
)
from sfbench.cli.commands.once import Once
from sfbench.cli.commands.root import app


@app.command("diversity", cls=Once)
def diversity_command(
    images: Annotated[
        str | None,
        typer.Option(help="Generated images: a folder, zip, tar, .npy, .npz, Parquet or LMDB."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Draw the generated images from this model.")
    ] = None,
    reference: Annotated[
        str | None, typer.Option(help="Real images, or shapes: their diversity stands beside.")
    ] = None,
    res: Annotated[
        int | None, typer.Option(help="Resolution in pixels: of the model, or of all images.")
    ] = None,
    pairs: Annotated[int, typer.Option(help="Most pairs; no image is in two.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the first image and of random choices.")] = 0,
    batch: Annotated[int, typer.Option(help="Batch size of the model.")] = 8,
    option: Options = None,
    weights: Annotated[
        str, typer.Option(help="Weights of the model: auto, random, or a file.")
    ] = "auto",
    vgg_weights: VggWeights = "auto",
    lpips_weights: LpipsWeights = "auto",
    device: DeviceName = "auto",
    threads: Threads = None,
    plugin: Plugins = None,
    no_plugin: NoPlugins = None,
    *,
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Measure LPIPS diversity: how different two images of one class look."""
    from sfbench.cli import bench, diversities

    asked = bench.Asked(
        images=images,
        model=model,
        reference=reference,
        resolution=res,
        seed=seed,
        batch=batch,
        option=tuple(option or ()),
        weights=weights,
        device=device,
        threads=threads,
        trusted=trust,
        plugins=tuple(defaults.located(plugin)),
        disabled=tuple(no_plugin or ()),
    )
    networks = diversities.Networks(vgg=vgg_weights, linear=lpips_weights)
    raise typer.Exit(diversities.show(asked, pairs, networks, as_json=as_json))
