"""Flags that several commands have, and how the command line speaks of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sfbench.cli import defaults
from sfbench.cli.commands.request_flags import option_of

if TYPE_CHECKING:
    from sfbench.cli.measuring import Settings
    from sfbench.store.runs import Origin
    from sfbench.values.job import Launcher

Plugins = Annotated[
    list[str] | None,
    typer.Option("--plugin", help="Also load this plugin: FILE.py or a module name."),
]
NoPlugins = Annotated[
    list[str] | None, typer.Option("--no-plugin", help="Do not load this plugin.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Published = Annotated[
    bool,
    typer.Option("--published", help="Also show the records that were published with the code."),
]
Imported = Annotated[
    bool, typer.Option("--imported", help="Also show records of others, from sfbench import.")
]
StoreFolder = Annotated[Path, typer.Option("--store", help="Folder of stored records.")]
Resolutions = Annotated[str, option_of("res")]
Dtype = Annotated[str, option_of("dtype")]
Mode = Annotated[str, option_of("mode")]
DeviceName = Annotated[str, option_of("device")]
Options = Annotated[list[str] | None, option_of("option")]
Trust = Annotated[bool, option_of("trust")]
Threads = Annotated[int | None, option_of("threads")]
ExtractorWeights = Annotated[str, option_of("extractor_weights")]
VggWeights = Annotated[
    str, typer.Option(help="Weights of VGG16, for LPIPS: auto, download, or a file.")
]
LpipsWeights = Annotated[
    str,
    typer.Option(help="Linear layers of LPIPS: auto (cache, package lpips), download, a file."),
]
Trials = Annotated[int, typer.Option(help="Repetitions per case, each in a new process.")]
Timeout = Annotated[float, typer.Option(help="Time limit per trial, in seconds.")]
Extractor = Annotated[
    str | None,
    typer.Option(help="Feature extractor [default: the protocol's]; see sfbench list extractors."),
]
MostSamples = Annotated[
    int | None, typer.Option(help="Maximum number of images per set [default: all].")
]
AllResolution = Annotated[
    int | None,
    typer.Option(
        "--res", help="Resize all images to this resolution, in pixels [default: as they are]."
    ),
]


def origins_of(*, published: bool, imported: bool) -> tuple[Origin, ...]:
    """Return whose records are wanted: always one's own."""
    others: dict[Origin, bool] = {"published": published, "imported": imported}
    return "own", *(origin for origin, wanted in others.items() if wanted)


def launcher_of(context: typer.Context) -> Launcher:
    """Return how trials are started: as `main` was told, else in processes of this machine."""
    if context.obj is not None:
        chosen: Launcher = context.obj
        return chosen
    from sfbench.run.launchers.local import launch

    return launch


def settings_of(
    context: typer.Context,
    store: Path,
    plugin: list[str] | None,
    no_plugin: list[str] | None,
    trials: int = 1,
    timeout: float = 3600.0,
    *,
    as_json: bool,
) -> Settings:
    """Return how to carry a run out, from the flags that say so."""
    from sfbench.cli.measuring import Settings

    return Settings(
        store=store,
        launcher=launcher_of(context),
        plugins=tuple(defaults.located(plugin)),
        disabled=tuple(no_plugin or ()),
        trials=trials,
        timeout_seconds=timeout,
        as_json=as_json,
    )
