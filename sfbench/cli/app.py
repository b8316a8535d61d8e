"""The commands of `sfbench`. Each parses, builds, calls and prints; torch and pandas come late."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sfbench import __version__
from sfbench.cli import defaults

app = typer.Typer(
    name="sfbench",
    help="Measure image generators: quality, throughput, memory, over resolutions.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Plugins = Annotated[
    list[str] | None, typer.Option("--plugin", help="Also load this FILE.py or module.")
]
NoPlugins = Annotated[list[str] | None, typer.Option("--no-plugin", help="Leave this plugin out.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
StoreFolder = Annotated[Path, typer.Option("--store", help="Folder of records.")]


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


@app.command("list")
def list_command(
    what: Annotated[str, typer.Argument(help="models, weights or data")] = "models",
    plugin: Plugins = None,
    no_plugin: NoPlugins = None,
    *,
    as_json: AsJson = False,
) -> None:
    """List models, published weights or data sets."""
    from sfbench.cli import listing

    catalogue = defaults.catalogue(plugin, no_plugin)
    typer.echo(listing.listed(catalogue, what, as_json=as_json))


@app.command("plugins")
def plugins_command(
    plugin: Plugins = None, no_plugin: NoPlugins = None, *, as_json: AsJson = False
) -> None:
    """List plugins, broken ones with the reason."""
    from sfbench.cli import listing

    typer.echo(listing.plugins(defaults.catalogue(plugin, no_plugin), as_json=as_json))


@app.command("run")
def run_command(
    model: Annotated[str | None, typer.Option(help="NAME[,NAME]; see sfbench list.")] = None,
    res: Annotated[str, typer.Option(help="Pixels: 32,64 or 32:256*2.")] = "32",
    batch: Annotated[str, typer.Option(help="Batch sizes, e.g. 8 or 1,8,64.")] = "8",
    dtype: Annotated[str, typer.Option(help="fp32, tf32, bf16, fp16.")] = "fp32",
    mode: Annotated[str, typer.Option(help="eager, compile.")] = "eager",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    data: Annotated[str, typer.Option(help="shapes, or a zip or folder of images.")] = "shapes",
    measure: Annotated[str, typer.Option(help="What to measure.")] = "speed,memory,quality",
    inception: Annotated[
        str, typer.Option(help="Inception-v3 weights: auto, none, download or FILE.")
    ] = "auto",
    option: Annotated[list[str] | None, typer.Option(help="NAME=VALUE for the model.")] = None,
    weights: Annotated[
        str, typer.Option(help="auto, random, FILE, or MODEL=FILE[,MODEL=FILE].")
    ] = "auto",
    samples: Annotated[
        int | None, typer.Option(help="Images for quality [CPU 128; GPU 50000, 1024 of shapes].")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of initial weights, and the first image's.")] = 0,
    threads: Annotated[int | None, typer.Option(help="CPU threads [all there are].")] = None,
    trials: Annotated[int, typer.Option(help="Fresh processes a case.")] = 1,
    timeout: Annotated[float, typer.Option(help="Seconds a trial may take.")] = 3600.0,
    suite: Annotated[Path | None, typer.Option(help="A TOML file with [[run]] tables.")] = None,
    store: StoreFolder = defaults.STORE,
    plugin: Plugins = None,
    no_plugin: NoPlugins = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Measure models: one fresh process a trial, one record a trial, nothing measured twice."""
    from sfbench.cli import measuring
    from sfbench.run.grid import Request

    flags = Request(
        model=model or "",
        res=res,
        batch=batch,
        dtype=dtype,
        mode=mode,
        device=device,
        data=data,
        measure=measure,
        inception=inception,
        option=tuple(option or ()),
        weights=weights,
        samples=samples,
        seed=seed,
        threads=threads,
    )
    requests = measuring.requests(flags, suite)
    settings = measuring.Settings(
        store=store,
        plugins=tuple(defaults.located(plugin)),
        disabled=tuple(no_plugin or ()),
        trials=trials,
        timeout_seconds=timeout,
        as_json=as_json,
    )
    raise typer.Exit(measuring.run(requests, settings))


@app.command("report")
def report_command(
    form: Annotated[str, typer.Option("--format", help="table, csv, json or md.")] = "table",
    model: Annotated[str | None, typer.Option(help="Only these models.")] = None,
    res: Annotated[str | None, typer.Option(help="Only these resolutions.")] = None,
    store: StoreFolder = defaults.STORE,
    *,
    tidy: Annotated[bool, typer.Option(help="csv and json: one row a number.")] = False,
) -> None:
    """Show what has been measured: one row a case."""
    from sfbench.cli import reporting

    raise typer.Exit(reporting.show(store, form, model, res, tidy=tidy))


@app.command("sample")
def sample_command(
    model: Annotated[str, typer.Option(help="NAME; see sfbench list.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="PNG file to write.")],
    seeds: Annotated[str, typer.Option(help="0-15 or 1,5,7.")] = "0-15",
    res: Annotated[int, typer.Option(help="Pixels.")] = 32,
    option: Annotated[list[str] | None, typer.Option(help="NAME=VALUE for the model.")] = None,
    weights: Annotated[str, typer.Option(help="auto, random or FILE.")] = "auto",
    seed: Annotated[int, typer.Option(help="Of initial weights.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    plugin: Plugins = None,
    no_plugin: NoPlugins = None,
) -> None:
    """Draw images from seeds as one PNG grid."""
    from sfbench.cli import drawing
    from sfbench.run.grid import Request

    request = Request(
        model=model,
        res=str(res),
        option=tuple(option or ()),
        weights=weights,
        seed=seed,
        device=device,
        measure="memory",
    )
    typer.echo(drawing.grid(request, seeds, output, defaults.located(plugin), no_plugin or []))


@app.command("check")
def check_command(
    target: Annotated[str, typer.Argument(help="A model's name, or a plugin FILE.py.")],
    res: Annotated[int | None, typer.Option(help="Pixels.")] = None,
    option: Annotated[list[str] | None, typer.Option(help="NAME=VALUE for the model.")] = None,
    plugin: Plugins = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Hold a model to the plugin contract."""
    from sfbench.cli import checking

    raise typer.Exit(
        checking.check(target, res, option or [], defaults.located(plugin), as_json=as_json)
    )


@app.command("convert")
def convert_command(
    source: Annotated[Path, typer.Argument(help="A .pkl snapshot or other checkpoint.")],
    target: Annotated[Path, typer.Argument(help="The .safetensors file to write.")],
    plugin: Plugins = None,
) -> None:
    """Rewrite published weights as safetensors; nothing in the file is executed."""
    from sfbench.cli import converting

    typer.echo(converting.convert(source, target, defaults.located(plugin)))


@app.command("doctor")
def doctor_command(
    plugin: Plugins = None, no_plugin: NoPlugins = None, *, as_json: AsJson = False
) -> None:
    """Show what may disturb or limit measurements on this machine; nothing is changed."""
    from sfbench.cli import doctor

    typer.echo(doctor.examined(defaults.catalogue(plugin, no_plugin), as_json=as_json))
