"""The command that compares reconstructions with their originals."""

from __future__ import annotations

from typing import Annotated

import typer

from sfbench.cli import defaults
from sfbench.cli.commands.flags import (
    AllResolution,
    AsJson,
    DeviceName,
    Extractor,
    ExtractorWeights,
    LpipsWeights,
    Plugins,
    VggWeights,
)
from sfbench.cli.commands.once import Once
from sfbench.cli.commands.root import app


@app.command("reconstruct", cls=Once)
def reconstruct_command(
    originals: Annotated[
        str, typer.Option(help="Original images: a folder, zip, tar, Parquet or LMDB.")
    ],
    reconstructions: Annotated[
        str, typer.Option(help="Reconstructions, in the same containers, by the same names.")
    ],
    card: Annotated[
        str, typer.Option(help="Cards to follow: all, or NAME[,NAME]; see docs/quality.md.")
    ] = "sfbench",
    explain: Annotated[
        tuple[str, str] | None,
        typer.Option(help="Show what moves the numbers between two cards."),
    ] = None,
    res: AllResolution = None,
    extractor: Extractor = None,
    extractor_weights: ExtractorWeights = "auto",
    vgg_weights: VggWeights = "auto",
    lpips_weights: LpipsWeights = "auto",
    device: DeviceName = "auto",
    plugin: Plugins = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Compare reconstructions with originals: rFID, PSNR, SSIM, MS-SSIM and LPIPS, by any card."""
    from sfbench.cli import reconstructing

    asked = reconstructing.Asked(
        originals=originals,
        reconstructions=reconstructions,
        card=card,
        explained=explain,
        resolution=res,
        extractor=extractor,
        extractor_weights=extractor_weights,
        vgg=vgg_weights,
        linear=lpips_weights,
        device=device,
        plugins=tuple(defaults.located(plugin)),
    )
    reconstructing.check(asked)
    raise typer.Exit(reconstructing.show(asked, as_json=as_json))
