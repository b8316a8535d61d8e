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

data_app = typer.Typer(
    name="data", help="Images to compare with.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(data_app)

Plugins = Annotated[
    list[str] | None, typer.Option("--plugin", help="Also load this FILE.py or module.")
]
NoPlugins = Annotated[list[str] | None, typer.Option("--no-plugin", help="Leave this plugin out.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
ExtractorWeights = Annotated[str, typer.Option(help="auto, download or FILE.")]
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
    what: Annotated[
        str, typer.Argument(help="models, weights, data, extractors or protocols")
    ] = "models",
    plugin: Plugins = None,
    no_plugin: NoPlugins = None,
    *,
    as_json: AsJson = False,
) -> None:
    """List models, published weights, data sets, extractors or protocols."""
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
    batch: Annotated[str, typer.Option(help="8 or 1,8,max-fit,best-throughput.")] = "8",
    dtype: Annotated[str, typer.Option(help="fp32, tf32, bf16, fp16.")] = "fp32",
    mode: Annotated[str, typer.Option(help="eager, compile, ...: see docs/cli.md.")] = "eager",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    data: Annotated[str, typer.Option(help="shapes, or a zip or folder of images.")] = "shapes",
    measure: Annotated[
        str, typer.Option(help="Also: energy, min-memory.")
    ] = "speed,memory,quality",
    extractor: Annotated[str, typer.Option(help="See sfbench list extractors.")] = "auto",
    extractor_weights: ExtractorWeights = "auto",
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
    min_memory: Annotated[
        bool, typer.Option("--min-memory", help="Find the least memory it runs in: minutes.")
    ] = False,
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
        measure=f"{measure},min-memory" if min_memory else measure,
        extractor=extractor,
        extractor_weights=extractor_weights,
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


@app.command("quality")
def quality_command(
    images: Annotated[
        str | None, typer.Option(help="Generated images: folder, zip, .npz or .npy.")
    ] = None,
    reference: Annotated[
        str, typer.Option(help="Real images, or a statistics .npz; or shapes.")
    ] = "",
    model: Annotated[str | None, typer.Option(help="Draw the images from this model.")] = None,
    res: Annotated[int | None, typer.Option(help="Pixels of a model, or of all images.")] = None,
    protocol: Annotated[str, typer.Option(help="all, or NAME[,NAME].")] = "sfbench",
    extractor: Annotated[
        str | None, typer.Option(help="Instead of the protocols' own; see sfbench list extractors.")
    ] = None,
    extractor_weights: ExtractorWeights = "auto",
    samples: Annotated[
        int | None, typer.Option(help="At most so many images of each [all; a model's 1024].")
    ] = None,
    seed: Annotated[int, typer.Option(help="First image's, and of choices.")] = 0,
    batch: Annotated[int, typer.Option(help="A model's batch.")] = 8,
    option: Annotated[list[str] | None, typer.Option(help="NAME=VALUE for the model.")] = None,
    weights: Annotated[str, typer.Option(help="The model's: auto, random or FILE.")] = "auto",
    neighbours: Annotated[
        Path | None, typer.Option(help="PNG of images beside their nearest real ones.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads [all there are].")] = None,
    plugin: Plugins = None,
    no_plugin: NoPlugins = None,
    *,
    fast: Annotated[bool, typer.Option("--fast", help="Folded Inception, within 1e-4.")] = False,
    per_class: Annotated[
        bool, typer.Option("--per-class", help="A distance a class, too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Compare images with real ones: every metric, with intervals, by any package's protocol."""
    from sfbench.cli import judging

    asked = judging.Asked(
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
        plugins=tuple(defaults.located(plugin)),
        disabled=tuple(no_plugin or ()),
    )
    raise typer.Exit(judging.quality(asked, protocol, neighbours, as_json=as_json))


@app.command("explain")
def explain_command(
    images: Annotated[str, typer.Argument(help="Generated images: folder, zip, .npz or .npy.")],
    reference: Annotated[str, typer.Argument(help="Real images.")],
    protocols: Annotated[tuple[str, str], typer.Option(help="Two; see sfbench list protocols.")],
    extractor: Annotated[str | None, typer.Option(help="Instead of the protocols' own.")] = None,
    extractor_weights: ExtractorWeights = "auto",
    samples: Annotated[
        int | None, typer.Option(help="At most so many images of each [all].")
    ] = None,
    res: Annotated[int | None, typer.Option(help="Pixels of all images [their own].")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    plugin: Plugins = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Say why two protocols give different numbers on the same images, a convention at a time."""
    from sfbench.cli import judging

    asked = judging.Asked(
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


@data_app.command("stats")
def data_stats_command(
    source: Annotated[
        str, typer.Argument(help="Images: folder, zip, .npz, .npy or shapes; none: list.")
    ] = "",
    out: Annotated[Path | None, typer.Option(help="Statistics .npz for other packages.")] = None,
    protocol: Annotated[str, typer.Option(help="See sfbench list protocols.")] = "sfbench",
    extractor: Annotated[str | None, typer.Option(help="Instead of the protocol's own.")] = None,
    extractor_weights: ExtractorWeights = "auto",
    samples: Annotated[int | None, typer.Option(help="At most so many images [all].")] = None,
    res: Annotated[int | None, typer.Option(help="Pixels of all images [their own].")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    plugin: Plugins = None,
    *,
    clear: Annotated[bool, typer.Option("--clear", help="Remove all kept features.")] = False,
    as_json: AsJson = False,
) -> None:
    """Compute reference statistics once, or list what is kept."""
    from sfbench.cli import judging, keeping

    asked = judging.Asked(
        reference=source,
        resolution=res,
        samples=samples,
        extractor=extractor,
        extractor_weights=extractor_weights,
        device=device,
        plugins=tuple(defaults.located(plugin)),
    )
    raise typer.Exit(keeping.stats(asked, protocol, out, clear=clear, as_json=as_json))


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


@app.command("scaling")
def scaling_command(
    model: Annotated[str, typer.Option(help="NAME[,NAME]; see sfbench list.")],
    res: Annotated[str, typer.Option(help="Three or more: 32:256*2.")] = "32:256*2",
    batch: Annotated[str, typer.Option(help="One batch size for every resolution.")] = "8",
    dtype: Annotated[str, typer.Option(help="fp32, tf32, bf16, fp16.")] = "fp32",
    mode: Annotated[str, typer.Option(help="See docs/cli.md.")] = "eager",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    option: Annotated[list[str] | None, typer.Option(help="NAME=VALUE for the models.")] = None,
    trials: Annotated[int, typer.Option(help="Fresh processes a case.")] = 1,
    timeout: Annotated[float, typer.Option(help="Seconds a trial may take.")] = 3600.0,
    figure: Annotated[Path | None, typer.Option(help="FILE.svg, .png, .html or .json.")] = None,
    store: StoreFolder = defaults.STORE,
    plugin: Plugins = None,
    no_plugin: NoPlugins = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Show how time, operations and memory grow with resolution, and where two models cross."""
    from sfbench.cli import measuring, scaling
    from sfbench.run.grid import Request

    request = Request(
        model=model,
        res=res,
        batch=batch,
        dtype=dtype,
        mode=mode,
        device=device,
        option=tuple(option or ()),
        measure="speed,memory",
    )
    settings = measuring.Settings(
        store=store,
        plugins=tuple(defaults.located(plugin)),
        disabled=tuple(no_plugin or ()),
        trials=trials,
        timeout_seconds=timeout,
        as_json=as_json,
    )
    raise typer.Exit(scaling.show(request, settings, figure))


@app.command("compare")
def compare_command(
    a: Annotated[
        str, typer.Argument(help="A: MODEL[,key=value]..., or a folder or file of records.")
    ],
    b: Annotated[str, typer.Argument(help="B, likewise.")],
    res: Annotated[str, typer.Option(help="Pixels: 32,64 or 32:256*2.")] = "32",
    batch: Annotated[str, typer.Option(help="Batch sizes, e.g. 8 or 1,8,64.")] = "8",
    dtype: Annotated[str, typer.Option(help="fp32, tf32, bf16, fp16.")] = "fp32",
    mode: Annotated[str, typer.Option(help="See docs/cli.md.")] = "eager",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    option: Annotated[list[str] | None, typer.Option(help="NAME=VALUE for both models.")] = None,
    weights: Annotated[str, typer.Option(help="auto, random or FILE.")] = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads [all there are].")] = None,
    quads: Annotated[int, typer.Option(help="A, B, B, A in fresh processes, so often.")] = 8,
    fail_on: Annotated[str, typer.Option(help="slower,more-memory,worse-quality: exit 4.")] = "",
    store: StoreFolder = defaults.STORE,
    plugin: Plugins = None,
    no_plugin: NoPlugins = None,
    *,
    live: Annotated[bool, typer.Option("--live", help="Measure both now, interleaved.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say whether B is faster, slower or the same as A, from interleaved or stored runs."""
    from sfbench.cli import comparing
    from sfbench.run.grid import Request

    shared = Request(
        model="",
        res=res,
        batch=batch,
        dtype=dtype,
        mode=mode,
        device=device,
        option=tuple(option or ()),
        weights=weights,
        threads=threads,
    )
    asked = comparing.Asked(
        a=a,
        b=b,
        live=live,
        quads=quads,
        fail_on=tuple(filter(None, fail_on.split(","))),
        store=store,
        plugins=tuple(defaults.located(plugin)),
        disabled=tuple(no_plugin or ()),
    )
    raise typer.Exit(comparing.compare(asked, shared, as_json=as_json))


@app.command("replay")
def replay_command(
    record: Annotated[Path, typer.Argument(help="A record's JSON file.")],
    weights: Annotated[str | None, typer.Option(help="The weights file it names.")] = None,
    data: Annotated[str | None, typer.Option(help="The real images it names.")] = None,
    plugin: Plugins = None,
    no_plugin: NoPlugins = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Measure a stored trial again and say whether it comes out the same."""
    from sfbench.cli import replaying

    raise typer.Exit(
        replaying.again(
            record,
            weights=weights,
            data=data,
            plugins=tuple(defaults.located(plugin)),
            disabled=tuple(no_plugin or ()),
            as_json=as_json,
        )
    )


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
    plugin: Plugins = None,
    no_plugin: NoPlugins = None,
    model: Annotated[str, typer.Option(help="With --aa: MODEL[,key=value]...")] = "synthetic",
    quads: Annotated[int, typer.Option(help="With --aa: A, A, A, A in fresh processes.")] = 8,
    *,
    aa: Annotated[
        bool, typer.Option("--aa", help="Measure this machine's noise floor: minutes.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show what may disturb or limit measurements on this machine; nothing is changed."""
    from sfbench.cli import doctor

    catalogue = defaults.catalogue(plugin, no_plugin)
    if aa:
        from sfbench.cli import noise_floor

        text = noise_floor.examined(
            model, quads, tuple(defaults.located(plugin)), tuple(no_plugin or ()), as_json=as_json
        )
        typer.echo(text)
        return
    typer.echo(doctor.examined(catalogue, as_json=as_json))
