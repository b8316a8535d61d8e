"""Commands that evaluate images: quality, and why protocols differ."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sfbench.api.errors import UsageError
from sfbench.cli import defaults
from sfbench.cli.commands import completion
from sfbench.cli.commands.flags import (
    AllResolution,
    AsJson,
    DeviceName,
    Extractor,
    ExtractorWeights,
    MostSamples,
    NoPlugins,
    Options,
    Plugins,
    Threads,
    Trust,
)
from sfbench.cli.commands.once import Once
from sfbench.cli.commands.root import app


@app.command("quality", cls=Once)
def quality_command(
    images: Annotated[
        str | None,
        typer.Option(help="Generated images: a folder, zip, tar, .npy, .npz, Parquet or LMDB."),
    ] = None,
    reference: Annotated[str, typer.Option(help="Real images, a statistics .npz, or shapes.")] = "",
    against: Annotated[
        str | None,
        typer.Option(help="Other generated images: the difference to them, on one reference."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Draw the generated images from this model.")
    ] = None,
    res: Annotated[
        int | None, typer.Option(help="Resolution in pixels: of the model, or of all images.")
    ] = None,
    protocol: Annotated[
        str,
        typer.Option(
            help="Protocols to follow: all, or NAME[,NAME].", autocompletion=completion.protocols
        ),
    ] = "sfbench",
    extractor: Extractor = None,
    extractor_weights: ExtractorWeights = "auto",
    samples: Annotated[
        int | None,
        typer.Option(help="Maximum number of images per set [default: all; 1024 of a model]."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the first image and of random choices.")] = 0,
    batch: Annotated[int, typer.Option(help="Batch size of the model.")] = 8,
    option: Options = None,
    weights: Annotated[
        str, typer.Option(help="Weights of the model: auto, random, or a file.")
    ] = "auto",
    neighbors: Annotated[
        Path | None, typer.Option(help="Write a PNG of images beside their nearest real images.")
    ] = None,
    blame: Annotated[
        Path | None, typer.Option(help="Write a PNG of the images that cost the distance most.")
    ] = None,
    verify: Annotated[
        str,
        typer.Option(
            help="Also run these packages themselves on the same files and compare: "
            "torch-fidelity,clean-fid."
        ),
    ] = "",
    device: DeviceName = "auto",
    threads: Threads = None,
    plugin: Plugins = None,
    no_plugin: NoPlugins = None,
    *,
    fast: Annotated[
        bool, typer.Option("--fast", help="Faster Inception features, equal within 1e-4.")
    ] = False,
    per_class: Annotated[
        bool, typer.Option("--per-class", help="Also compute a distance per class.")
    ] = False,
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Compare generated with real images: every metric with intervals, by any protocol."""
    from sfbench.cli import bench, judging

    asked = bench.Asked(
        images=images,
        reference=reference,
        model=model,
        resolution=res,
        samples=samples,
        seed=seed,
        batch=batch,
        option=tuple(option or ()),
        weights=weights,
        extractor=extractor,
        extractor_weights=extractor_weights,
        fast=fast,
        per_class=per_class,
        device=device,
        threads=threads,
        trusted=trust,
        plugins=tuple(defaults.located(plugin)),
        disabled=tuple(no_plugin or ()),
    )
    if against is None:
        pictures = judging.Pictures(neighbors=neighbors, blame=blame)
        raise typer.Exit(judging.quality(asked, protocol, pictures, verify, as_json=as_json))
    for flag, path in (("--neighbors", neighbors), ("--blame", blame)):
        if path is not None:
            msg = f"{flag} shows one set of images; omit it, or --against"
            raise UsageError(msg)
    if verify:
        msg = "--verify checks one set of images; omit it, or --against"
        raise UsageError(msg)
    from sfbench.cli import judging_two

    raise typer.Exit(judging_two.against(asked, against, protocol, as_json=as_json))


@app.command("explain", cls=Once)
def explain_command(
    images: Annotated[
        str,
        typer.Argument(help="Generated images: a folder, zip, tar, .npy, .npz, Parquet or LMDB."),
    ],
    reference: Annotated[
        str, typer.Argument(help="Real images, in the same containers, or a statistics .npz.")
    ],
    protocols: Annotated[
        tuple[str, str],
        typer.Option(
            help="The two protocols to explain; see sfbench list protocols.",
            autocompletion=completion.protocols,
        ),
    ],
    extractor: Extractor = None,
    extractor_weights: ExtractorWeights = "auto",
    samples: MostSamples = None,
    res: AllResolution = None,
    device: DeviceName = "auto",
    plugin: Plugins = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Explain why two protocols differ on the same images, one convention at a time."""
    from sfbench.cli import bench, judging

    asked = bench.Asked(
        images=images,
        reference=reference,
        resolution=res,
        samples=samples,
        extractor=extractor,
        extractor_weights=extractor_weights,
        device=device,
        plugins=tuple(defaults.located(plugin)),
    )
    raise typer.Exit(judging.explain(asked, *protocols, as_json=as_json))
