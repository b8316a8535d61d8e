"""The command that trains and judges again and again."""

from __future__ import annotations

from typing import Annotated

import typer

from sfbench.api.errors import UsageError
from sfbench.cli import defaults, sound
from sfbench.cli.commands.flags import (
    AsJson,
    NoPlugins,
    Plugins,
    StoreFolder,
    Timeout,
    settings_of,
)
from sfbench.cli.commands.once import Once
from sfbench.cli.commands.request_flags import with_request
from sfbench.cli.commands.root import app
from sfbench.values.case import Request
from sfbench.values.paths import model_names


@app.command("lottery", cls=Once)
@with_request(
    "model", "batch", "device", "data", "extractor", "extractor_weights", "samples", "labels",
    "threads",
)  # fmt: skip
def lottery_command(
    context: typer.Context,
    request: Request,
    preset: Annotated[str, typer.Option(help="Training preset; see sfbench list presets.")],
    train_kimg: Annotated[float, typer.Option(help="Length of each training run, in kimg.")],
    train_seeds: Annotated[int, typer.Option(help="Training runs of each model.")] = 5,
    sample_seeds: Annotated[int, typer.Option(help="Evaluations of each run.")] = 4,
    timeout: Timeout = 3600.0,
    store: StoreFolder = defaults.STORE,
    plugin: Plugins = None,
    no_plugin: NoPlugins = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Measure how much quality varies over training and over evaluation; compare over both."""
    names = model_names(request.model)
    if len(set(names)) != len(names):
        msg = f"--model {request.model}: a model is named twice"
        raise UsageError(msg)
    sound.check_models(names, defaults.located(plugin), no_plugin or ())
    from sfbench.cli import lottery

    settings = settings_of(context, store, plugin, no_plugin, 1, timeout, as_json=as_json)
    asked = lottery.Asked(
        request=request,
        preset=preset,
        kimg=train_kimg,
        train_seeds=train_seeds,
        sample_seeds=sample_seeds,
        samples=lottery.SAMPLES if request.samples is None else request.samples,
    )
    raise typer.Exit(lottery.show(asked, settings))
