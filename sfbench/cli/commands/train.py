"""The command that trains."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sfbench.cli import defaults
from sfbench.cli.commands.flags import AsJson, DeviceName, NoPlugins, Options, Plugins, Threads
from sfbench.cli.commands.once import Once
from sfbench.cli.commands.root import app


@app.command("train", cls=Once)
def train_command(
    model: Annotated[str, typer.Option(help="Model; see sfbench list.")],
    out: Annotated[Path, typer.Option(help="Folder of the training run.")],
    data: Annotated[
        str,
        typer.Option(
            help="Training images: shapes, a folder of sfbench data build, or any file or folder."
        ),
    ] = "shapes",
    preset: Annotated[
        str | None, typer.Option(help="Training preset; see sfbench list presets.")
    ] = None,
    kimg: Annotated[
        float | None, typer.Option(help="Length of training in thousands of images (kimg).")
    ] = None,
    res: Annotated[
        int | None, typer.Option(help="Resolution in pixels [default: the preset's, else 32].")
    ] = None,
    batch: Annotated[
        int | None, typer.Option(help="Batch size [default: the preset's, else 32].")
    ] = None,
    gamma: Annotated[
        float | None, typer.Option(help="R1 weight; short for --set gamma=VALUE.")
    ] = None,
    augment: Annotated[
        str | None, typer.Option(help="Augmentation; short for --set augment=VALUE.")
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", help="Setting of training, NAME=VALUE; may be repeated."),
    ] = None,
    option: Options = None,
    weights: Annotated[str, typer.Option(help="Start from the generator in this file.")] = "random",
    dtype: Annotated[str, typer.Option(help="Precision: fp32, tf32, bf16.")] = "fp32",
    mode: Annotated[str, typer.Option(help="Execution mode: eager or compile.")] = "eager",
    device: DeviceName = "auto",
    seed: Annotated[int, typer.Option(help="Seed for weights, data order and latents.")] = 0,
    threads: Threads = None,
    subset: Annotated[int | None, typer.Option(help="Use only the first N images.")] = None,
    accumulate: Annotated[
        int, typer.Option(help="Gradient accumulation: number of parts of a batch.")
    ] = 1,
    metrics: Annotated[
        int, typer.Option(help="Images used to evaluate each snapshot (0 = off).")
    ] = 1024,
    snapshot_kimg: Annotated[
        float | None, typer.Option(help="Kimg between snapshots [default: a tenth of the run].")
    ] = None,
    extractor: Annotated[
        str, typer.Option(help="Feature extractor; see sfbench list extractors.")
    ] = "auto",
    plugin: Plugins = None,
    no_plugin: NoPlugins = None,
    *,
    hflip: Annotated[
        bool | None, typer.Option("--hflip/--no-hflip", help="Random horizontal flips.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume the run in --out, if there is one.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train a model; an interrupted run continues with --resume, on a CPU with identical results."""
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
        hflip=hflip,
        accumulate=accumulate,
        samples=metrics,
        snapshot_kimg=snapshot_kimg,
        extractor=extractor,
        resume=resume,
        plugins=tuple(defaults.located(plugin)),
        disabled=tuple(no_plugin or ()),
    )
    raise typer.Exit(training.train(asked, as_json=as_json))
