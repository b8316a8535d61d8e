"""Commands about real images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sfbench.cli import defaults, sound
from sfbench.cli.commands.flags import (
    AllResolution,
    AsJson,
    DeviceName,
    Extractor,
    ExtractorWeights,
    MostSamples,
    Plugins,
)
from sfbench.cli.commands.once import Once
from sfbench.cli.commands.root import app

data_app = typer.Typer(
    name="data", help="Images to compare with.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(data_app)


@data_app.command("stats", cls=Once)
def data_stats_command(
    source: Annotated[
        str,
        typer.Argument(
            help="Images: shapes, a file or a folder; without any, list what is stored."
        ),
    ] = "",
    out: Annotated[
        Path | None,
        typer.Option(help="Write the statistics to this .npz, which other packages read."),
    ] = None,
    protocol: Annotated[
        str, typer.Option(help="Protocol to follow; see sfbench list protocols.")
    ] = "sfbench",
    extractor: Extractor = None,
    extractor_weights: ExtractorWeights = "auto",
    samples: MostSamples = None,
    res: AllResolution = None,
    device: DeviceName = "auto",
    plugin: Plugins = None,
    *,
    clear: Annotated[bool, typer.Option("--clear", help="Delete all stored features.")] = False,
    as_json: AsJson = False,
) -> None:
    """Compute and store reference statistics, or list the stored ones."""
    sound.check_images(source=source)
    from sfbench.cli import bench, keeping

    asked = bench.Asked(
        reference=source,
        resolution=res,
        samples=samples,
        extractor=extractor,
        extractor_weights=extractor_weights,
        device=device,
        plugins=tuple(defaults.located(plugin)),
    )
    raise typer.Exit(keeping.stats(asked, protocol, out, clear=clear, as_json=as_json))


@data_app.command("build", cls=Once)
def data_build_command(
    source: Annotated[
        Path, typer.Argument(help="Folder, zip, CIFAR or STL-10 archive, tar, LMDB, parquet, .npy.")
    ],
    out: Annotated[Path, typer.Option(help="Folder to create.")],
    res: Annotated[int, typer.Option(help="Resolution in pixels.")],
    crop: Annotated[
        str,
        typer.Option(
            help="How to make images square: center, squash, or none (only square images)."
        ),
    ] = "center",
    resample: Annotated[
        str, typer.Option("--filter", help="Resampling filter: lanczos, box or bicubic.")
    ] = "lanczos",
    alpha: Annotated[
        str, typer.Option(help="What to do with transparent pixels: error, white, black or drop.")
    ] = "error",
    max_bad: Annotated[
        int, typer.Option(help="Maximum number of unreadable images to leave out.")
    ] = 0,
    subset: Annotated[int | None, typer.Option(help="Use only the first N images.")] = None,
    *,
    labels: Annotated[bool, typer.Option("--labels/--no-labels", help="Keep class labels.")] = True,
    as_json: AsJson = False,
) -> None:
    """Prepare images for training: one size, one array, a list of rejected images."""
    sound.check_file(source, "images")
    from sfbench.cli import preparing

    wanted = preparing.wanted(
        resolution=res,
        crop=crop,
        resample=resample,
        alpha=alpha,
        max_bad=max_bad,
        most=subset,
        labels=labels,
    )
    raise typer.Exit(preparing.build(source, out, wanted, as_json=as_json))


@data_app.command("info", cls=Once)
def data_info_command(
    folder: Annotated[Path, typer.Argument(help="A folder of sfbench data build.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Describe a prepared folder and verify its pixels."""
    sound.check_file(folder / "meta.json", "a folder of sfbench data build")
    from sfbench.cli import preparing

    raise typer.Exit(preparing.info(folder, as_json=as_json))


@data_app.command("preview", cls=Once)
def data_preview_command(
    folder: Annotated[Path, typer.Argument(help="A folder of sfbench data build.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="PNG file to write.")],
) -> None:
    """Write a PNG grid of images sampled from a prepared folder."""
    sound.check_file(folder / "meta.json", "a folder of sfbench data build")
    from sfbench.cli import preparing

    raise typer.Exit(preparing.preview(folder, output))
