"""The command that trains."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sfbench.cli import defaults
from sfbench.cli.commands.flags import AsJson, DeviceName, NoPlugins, Options, Plugins, Threads
from sfbench.cli.commands.root import app


@app.command("train")
def train_command(
    model: Annotated[str, typer.Option(help="NAME; see sfbench list.")],
    out: Annotated[Path, typer.Option(help="Folder of the run.")],
    data: Annotated[
        str, typer.Option(help="shapes, a folder of sfbench data build, a zip or folder of images.")
    ] = "shapes",
    preset: Annotated[str | None, typer.Option(help="See sfbench list presets.")] = None,
    kimg: Annotated[float | None, typer.Option(help="Length: thousand images.")] = None,
    res: Annotated[int | None, typer.Option(help="Pixels [the preset's; 32].")] = None,
    batch: Annotated[int | None, typer.Option(help="Images a step [the preset's; 32].")] = None,
    gamma: Annotated[float | None, typer.Option(help="Short for --set gamma=.")] = None,
    augment: Annotated[str | None, typer.Option(help="Short for --set augment=.")] = None,
    setting: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=VALUE of training.")
    ] = None,
    option: Options = None,
    weights: Annotated[str, typer.Option(help="Begin with the generator of this FILE.")] = "random",
    dtype: Annotated[str, typer.Option(help="fp32, tf32, bf16.")] = "fp32",
    mode: Annotated[str, typer.Option(help="eager or compile.")] = "eager",
    device: DeviceName = "auto",
    seed: Annotated[int, typer.Option(help="Of weights, order of images, latents.")] = 0,
    threads: Threads = None,
    subset: Annotated[int | None, typer.Option(help="Only the first so many images.")] = None,
    accumulate: Annotated[int, typer.Option(help="Parts of a batch, one after the other.")] = 1,
    metrics: Annotated[int, typer.Option(help="Images for quality a snapshot; 0: none.")] = 1024,
    snapshot_kimg: Annotated[
        float | None, typer.Option(help="From one snapshot to the next [a tenth].")
    ] = None,
    extractor: Annotated[str, typer.Option(help="See sfbench list extractors.")] = "auto",
    plugin: Plugins = None,
    no_plugin: NoPlugins = None,
    *,
    mirror: Annotated[
        bool | None, typer.Option("--mirror/--no-mirror", help="Mirrored images, too.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --out, if there is one.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train a model; what is interrupted goes on with --resume as if it had not been."""
    from sfbench.cli import training

    short = {"gamma": gamma, "augment": augment}
    given = [f"{name}={value}" for name, value in short.items() if value is not None]
    asked = training.Asked(
        model=model,
        data=data,
        out=out,
        preset=preset,
        res=res,
        kimg=kimg,
        batch=batch,
        option=tuple(option or ()),
        setting=(*given, *(setting or ())),
        weights=weights,
        dtype=dtype,
        mode=mode,
        device=device,
        seed=seed,
        threads=threads,
        subset=subset,
        mirror=mirror,
        accumulate=accumulate,
        samples=metrics,
        snapshot_kimg=snapshot_kimg,
        extractor=extractor,
        resume=resume,
        plugins=tuple(defaults.located(plugin)),
        disabled=tuple(no_plugin or ()),
    )
    raise typer.Exit(training.train(asked, as_json=as_json))
