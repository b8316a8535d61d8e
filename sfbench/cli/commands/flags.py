"""Flags that several commands have, and how the command line speaks of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sfbench.cli import defaults
from sfbench.values.timing import BLOCK_SECONDS, BLOCKS, LATENCY_CALLS

if TYPE_CHECKING:
    from sfbench.cli.measuring import Settings

Plugins = Annotated[
    list[str] | None, typer.Option("--plugin", help="Also load this FILE.py or module.")
]
NoPlugins = Annotated[list[str] | None, typer.Option("--no-plugin", help="Leave this plugin out.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
ExtractorWeights = Annotated[str, typer.Option(help="auto, download or FILE.")]
StoreFolder = Annotated[Path, typer.Option("--store", help="Folder of records.")]
Resolutions = Annotated[str, typer.Option("--res", help="Pixels: 32,64 or 32:256*2.")]
Dtype = Annotated[str, typer.Option(help="fp32, tf32, bf16, fp16.")]
Mode = Annotated[str, typer.Option(help="eager, compile, ...: see docs/cli.md.")]
DeviceName = Annotated[
    str, typer.Option("--device", help="auto, cpu or cuda.", callback=defaults.device_flag)
]
Options = Annotated[list[str] | None, typer.Option("--option", help="NAME=VALUE for the model.")]
Threads = Annotated[int | None, typer.Option(help="CPU threads [all there are].")]
WarmupSeconds = Annotated[
    float | None,
    typer.Option(help="Least seconds of warm-up before each timed pass [default: CPU 1, GPU 2]."),
]
Blocks = Annotated[
    int | None, typer.Option(help=f"Timed blocks of each region [default: {BLOCKS}].")
]
BlockSeconds = Annotated[
    float | None, typer.Option(help=f"Least seconds of a block [default: {BLOCK_SECONDS}].")
]
LatencyCalls = Annotated[
    int | None, typer.Option(help=f"Calls in the latency pass [default: {LATENCY_CALLS}].")
]
Trials = Annotated[int, typer.Option(help="Fresh processes a case.")]
Timeout = Annotated[float, typer.Option(help="Seconds a trial may take.")]
Extractor = Annotated[
    str | None, typer.Option(help="Instead of the protocols' own; see sfbench list extractors.")
]
MostSamples = Annotated[int | None, typer.Option(help="At most so many images of each [all].")]
AllResolution = Annotated[
    int | None, typer.Option("--res", help="Pixels of all images [their own].")
]


def settings_of(
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
        plugins=tuple(defaults.located(plugin)),
        disabled=tuple(no_plugin or ()),
        trials=trials,
        timeout_seconds=timeout,
        as_json=as_json,
    )
