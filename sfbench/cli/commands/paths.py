"""The command that measures how smooth a model's latent space is."""

from __future__ import annotations

from typing import Annotated

import typer

from sfbench.cli import defaults, sound
from sfbench.cli.commands.flags import AsJson, LpipsWeights, NoPlugins, Plugins, VggWeights
from sfbench.cli.commands.once import Once
from sfbench.cli.commands.request_flags import with_request
from sfbench.cli.commands.root import app
from sfbench.values.case import Request
from sfbench.values.paths import model_names

PPL = "stylegan2-ada-ppl2-wend"


@app.command("path-length", cls=Once)
@with_request(
    "model", "res", "batch", "device", "data", "option", "weights", "seed", "labels", "threads",
    "trust",
)  # fmt: skip
def path_length_command(
    request: Request,
    card: Annotated[
        str, typer.Option(help="Cards to follow, NAME[,NAME]: see docs/quality.md.")
    ] = PPL,
    paths: Annotated[int, typer.Option(help="Number of paths; packages take 50000.")] = 50000,
    vgg_weights: VggWeights = "auto",
    lpips_weights: LpipsWeights = "auto",
    plugin: Plugins = None,
    no_plugin: NoPlugins = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Measure the perceptual path length (PPL): how evenly images change along latents."""
    sound.check_models(model_names(request.model), defaults.located(plugin), no_plugin or ())
    from sfbench.cli import path_lengths

    asked = path_lengths.Asked(
        cards=tuple(filter(None, card.split(","))),
        paths=paths,
        vgg=vgg_weights,
        linear=lpips_weights,
        plugins=tuple(defaults.located(plugin)),
        disabled=tuple(no_plugin or ()),
    )
    raise typer.Exit(path_lengths.show(request, asked, as_json=as_json))
