"""Commands that measure models and report the results."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from sfbench.api.errors import UsageError
from sfbench.cli import defaults, sound
from sfbench.cli.commands.completion import models, suites
from sfbench.cli.commands.flags import (
    AsJson,
    Imported,
    NoPlugins,
    Plugins,
    Published,
    StoreFolder,
    Timeout,
    Trials,
    launcher_of,
    origins_of,
    settings_of,
)
from sfbench.cli.commands.once import Once
from sfbench.cli.commands.request_flags import given_flags, with_request
from sfbench.cli.commands.root import app
from sfbench.cli.exits import Exit
from sfbench.values.case import Request
from sfbench.values.paths import model_names


@app.command("run", cls=Once)
@with_request()
def run_command(
    context: typer.Context,
    request: Request,
    trials: Trials = 1,
    timeout: Timeout = 3600.0,
    suite: Annotated[
        str | None,
        typer.Option(
            help="Run a suite: NAME of sfbench list suites, or FILE.toml.", autocompletion=suites
        ),
    ] = None,
    scale: Annotated[str, typer.Option(help="Scale of the suite: smoke, quick, full.")] = "full",
    store: StoreFolder = defaults.STORE,
    plugin: Plugins = None,
    no_plugin: NoPlugins = None,
    *,
    min_memory: Annotated[
        bool,
        typer.Option(
            "--min-memory",
            help="Search for the least memory in which each case runs (takes minutes).",
        ),
    ] = False,
    as_json: AsJson = False,
    on: Annotated[
        str | None,
        typer.Option(help="Measure on a cluster: slurm.", rich_help_panel="Many machines"),
    ] = None,
    slurm: Annotated[
        list[str] | None,
        typer.Option(
            help="Flag of sbatch, KEY=VALUE or KEY, e.g. gres=gpu:1; may be repeated.",
            rich_help_panel="Many machines",
        ),
    ] = None,
    workers: Annotated[
        int,
        typer.Option(help="Workers on the cluster.", rich_help_panel="Many machines"),
    ] = 1,
    printed: Annotated[
        bool,
        typer.Option(
            "--print",
            help="Print the job's script; submit nothing.",
            rich_help_panel="Many machines",
        ),
    ] = False,
    detach: Annotated[
        bool,
        typer.Option(
            "--detach",
            help="Do not wait; see sfbench status.",
            rich_help_panel="Many machines",
        ),
    ] = False,
) -> None:
    """Measure models: one new process and one record per trial; nothing is measured twice."""
    from sfbench.cli import measuring, spreading

    if min_memory:
        request = dataclasses.replace(request, measure=f"{request.measure},min-memory")
    requests = measuring.requests(request, suite, scale)
    settings = settings_of(context, store, plugin, no_plugin, trials, timeout, as_json=as_json)
    if on is not None:
        cluster = spreading.Cluster(
            flags=tuple(slurm or ()), workers=workers, printed=printed, detached=detach
        )
        raise typer.Exit(spreading.on_cluster(on, requests, settings, cluster))
    if slurm or workers != 1 or printed or detach:
        msg = "--slurm, --workers, --print and --detach are for --on slurm"
        raise UsageError(msg)
    if any(spreading.names_several(one.device) for one in requests):
        raise typer.Exit(spreading.on_devices(requests, settings))
    raise typer.Exit(measuring.run(requests, settings))


@app.command("report", cls=Once)
def report_command(
    form: Annotated[
        str, typer.Option("--format", help="Output format: table, csv, json, md or tex.")
    ] = "table",
    model: Annotated[
        str | None, typer.Option(help="Show only these models.", autocompletion=models)
    ] = None,
    res: Annotated[str | None, typer.Option(help="Show only these resolutions.")] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write an HTML page to this file instead.")
    ] = None,
    training: Annotated[
        list[Path] | None,
        typer.Option(help="Include this training run on the page; may be repeated."),
    ] = None,
    port: Annotated[
        int, typer.Option(help="Port of --serve on this machine [default: any free one].")
    ] = 0,
    store: StoreFolder = defaults.STORE,
    *,
    serve: Annotated[
        bool, typer.Option("--serve", help="Serve the page to this machine; it follows the store.")
    ] = False,
    published: Published = False,
    imported: Imported = False,
    tidy: Annotated[bool, typer.Option(help="For csv and json: one row per value.")] = False,
) -> None:
    """Show the stored results: one row per case."""
    sound.check_format(form)
    origins = origins_of(published=published, imported=imported)
    if port and not serve:
        msg = f"--port {port} is for --serve"
        raise UsageError(msg)
    if serve and html is not None:
        msg = "--serve serves the page, --html writes it; give one of them"
        raise UsageError(msg)
    if not serve and not sound.holds_records(store, origins):
        raise typer.Exit(Exit.NOTHING_MEASURED)
    from sfbench.cli import reporting

    wanted = reporting.Wanted(
        form=form,
        model=model,
        res=res,
        tidy=tidy,
        html=html,
        training=tuple(training or ()),
        origins=origins,
    )
    if serve:
        raise typer.Exit(reporting.serve(store, wanted, port))
    raise typer.Exit(reporting.show(store, wanted))


@app.command("scaling", cls=Once)
@with_request(
    "model",
    "res",
    "batch",
    "dtype",
    "mode",
    "device",
    "option",
    "trust",
    res="32:256*2",
    measure="speed,memory",
)
def scaling_command(
    context: typer.Context,
    request: Request,
    trials: Trials = 1,
    timeout: Timeout = 3600.0,
    figure: Annotated[
        Path | None, typer.Option(help="Write the figure to this .svg, .png, .html or .json file.")
    ] = None,
    store: StoreFolder = defaults.STORE,
    plugin: Plugins = None,
    no_plugin: NoPlugins = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Fit how time, FLOPs and memory grow with resolution, and find where two models cross."""
    sound.check_models(model_names(request.model), defaults.located(plugin), no_plugin or ())
    from sfbench.cli import scaling

    settings = settings_of(context, store, plugin, no_plugin, trials, timeout, as_json=as_json)
    raise typer.Exit(scaling.show(request, settings, figure))


@app.command("frontier", cls=Once)
@with_request()
def frontier_command(
    context: typer.Context,
    request: Request,
    knob: Annotated[
        str, typer.Option(help="Option to turn and its least and greatest value, NAME=LOW:HIGH.")
    ],
    budget: Annotated[
        str, typer.Option(help="No value is begun that would not fit this time: 90s, 20m, 1.5h.")
    ] = "20m",
    trials: Trials = 1,
    timeout: Timeout = 3600.0,
    figure: Annotated[
        Path | None, typer.Option(help="Write the figure to this .svg, .png, .html or .json file.")
    ] = None,
    store: StoreFolder = defaults.STORE,
    plugin: Plugins = None,
    no_plugin: NoPlugins = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Measure quality against time over one option, at the values where the curve bends."""
    from sfbench.cli import frontier

    settings = settings_of(context, store, plugin, no_plugin, trials, timeout, as_json=as_json)
    asked, seconds = frontier.parse_knob(knob), frontier.parse_budget(budget)
    raise typer.Exit(frontier.show(request, asked, seconds, settings, figure))


@app.command("compare", cls=Once)
@with_request(
    "res", "batch", "dtype", "mode", "device", "data", "extractor", "extractor_weights",
    "option", "weights", "samples", "seed", "labels", "threads", "trust", model="", data="",
)  # fmt: skip
def compare_command(
    context: typer.Context,
    a: Annotated[
        str, typer.Argument(help="A: MODEL[,key=value]..., a folder of records, or one record.")
    ],
    b: Annotated[str, typer.Argument(help="B, in the same form.")],
    request: Request,
    quads: Annotated[
        int, typer.Option(help="Number of A, B, B, A quads, each run in a new process.")
    ] = 8,
    fail_on: Annotated[
        str,
        typer.Option(help="Exit with 4 on these regressions: slower,more-memory,worse-quality."),
    ] = "",
    margin_limit: Annotated[
        float,
        typer.Option(help="Largest noise margin, in percent, at which a verdict is given."),
    ] = 10.0,
    store: StoreFolder = defaults.STORE,
    plugin: Plugins = None,
    no_plugin: NoPlugins = None,
    *,
    live: Annotated[
        bool, typer.Option("--live", help="Measure both sides now, interleaved.")
    ] = False,
    sequential: Annotated[
        bool,
        typer.Option(
            "--sequential",
            help="Draw images until the better quality is certain, --samples at most "
            "[default: 10000].",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Test whether B is faster than, slower than or the same as A, interleaved or from records."""
    if sequential and not request.data:
        msg = "--sequential compares quality; give real images with --data"
        raise UsageError(msg)
    if live or sequential:
        names = [model_names(side)[0] for side in (a, b)]
        sound.check_models(names, defaults.located(plugin), no_plugin or ())
    elif given := given_flags(context):
        msg = f"{given[0]} is for --live; stored records are compared as they were measured"
        raise UsageError(msg)
    else:
        sound.check_sides((a, b), store)
    if not 0 < margin_limit < float("inf"):
        msg = f"--margin-limit {margin_limit:g}: expected percent, above 0"
        raise UsageError(msg)
    from sfbench.cli import comparing, sides

    asked = sides.Asked(
        a=a,
        b=b,
        live=live,
        quads=quads,
        fail_on=tuple(filter(None, fail_on.split(","))),
        store=store,
        launcher=launcher_of(context),
        margin_limit=margin_limit / 100,
        sequential=sequential,
        plugins=tuple(defaults.located(plugin)),
        disabled=tuple(no_plugin or ()),
    )
    raise typer.Exit(comparing.compare(asked, request, as_json=as_json))


@app.command("certify", cls=Once)
@with_request(
    "res", "batch", "dtype", "mode", "device", "data", "extractor", "extractor_weights",
    "option", "weights", "samples", "seed", "labels", "threads", "trust", model="",
)  # fmt: skip
def certify_command(
    context: typer.Context,
    of: Annotated[
        str, typer.Option(help="What is faster: MODEL[,key=value]..., e.g. onnx:g.onnx.")
    ],
    against: Annotated[str, typer.Option(help="What it would replace, in the same form.")],
    request: Request,
    harm: Annotated[
        float, typer.Option(help="Rise of the distance that counts as harm, in percent.")
    ] = 1.0,
    quads: Annotated[
        int, typer.Option(help="Number of A, B, B, A quads for speed and memory; 0: quality alone.")
    ] = 8,
    margin_limit: Annotated[
        float,
        typer.Option(help="Largest noise margin, in percent, at which a verdict is given."),
    ] = 10.0,
    store: StoreFolder = defaults.STORE,
    plugin: Plugins = None,
    no_plugin: NoPlugins = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Certify that a faster variant does no harm: same seeds, paired quality, speed, memory."""
    for flag, value in (("harm", harm), ("margin-limit", margin_limit)):
        if not 0 < value < float("inf"):
            msg = f"--{flag} {value:g}: expected percent, above 0"
            raise UsageError(msg)
    names = [model_names(side)[0] for side in (of, against)]
    sound.check_models(names, defaults.located(plugin), no_plugin or ())
    from sfbench.cli import certifying, sides

    asked = sides.Asked(
        a=against,
        b=of,
        live=True,
        quads=quads,
        fail_on=(),
        store=store,
        launcher=launcher_of(context),
        margin_limit=margin_limit / 100,
        plugins=tuple(defaults.located(plugin)),
        disabled=tuple(no_plugin or ()),
    )
    raise typer.Exit(certifying.certify(asked, request, harm / 100, as_json=as_json))
