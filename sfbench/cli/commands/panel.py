"""The command that compares sets of images in several feature spaces."""

from __future__ import annotations

from typing import Annotated

import typer

from sfbench.cli import defaults
from sfbench.cli.commands.flags import (
    AllResolution,
    AsJson,
    DeviceName,
    ExtractorWeights,
    MostSamples,
    NoPlugins,
    Plugins,
    Threads,
    Trust,
)
from sfbench.cli.commands.once import Once
from sfbench.cli.commands.root import app


@app.command("panel", cls=Once)
def panel_command(
    sets: Annotated[
        list[str],
        typer.Argument(
            help="Generated images: files or folders, or models, MODEL[,key=value]...",
            metavar="IMAGES...",
        ),
    ],
    reference: Annotated[str, typer.Option(help="Real images, or shapes.")],
    held_out: Annotated[
        str | None,
        typer.Option(help="Other real images [default: a random half of the reference]."),
    ] = None,
    extractor: Annotated[
        str, typer.Option(help="Feature extractors, NAME[,NAME] [default: all at hand].")
    ] = "auto",
    extractor_weights: ExtractorWeights = "auto",
    samples: MostSamples = None,
    res: AllResolution = None,
    seed: Annotated[int, typer.Option(help="Seed of the first image and of random choices.")] = 0,
    device: DeviceName = "auto",
    threads: Threads = None,
    plugin: Plugins = None,
    no_plugin: NoPlugins = None,
    *,
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Compare sets of images in every feature space at hand; alarm where ranks flip."""
    from sfbench.cli import bench, paneling

    asked = bench.Asked(
        reference=reference,
        resolution=res,
        samples=samples,
        seed=seed,
        extractor_weights=extractor_weights,
        device=device,
        threads=threads,
        trusted=trust,
        plugins=tuple(defaults.located(plugin)),
        disabled=tuple(no_plugin or ()),
    )
    raise typer.Exit(paneling.panel(asked, sets, held_out, extractor, as_json=as_json))
