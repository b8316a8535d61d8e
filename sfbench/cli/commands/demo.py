"""The command for the first five minutes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sfbench.cli.commands.flags import AsJson, settings_of
from sfbench.cli.commands.once import Once
from sfbench.cli.commands.root import app


@app.command("demo", cls=Once)
def demo_command(
    context: typer.Context,
    store: Annotated[Path, typer.Option(help="Folder for the records and the page.")] = Path(
        "sfbench-demo"
    ),
    scale: Annotated[str, typer.Option(help="Scale of the suite: smoke, quick, full.")] = "full",
    *,
    as_json: AsJson = False,
) -> None:
    """Measure three small trained models and the headline case, and write their page."""
    from sfbench.cli import demo

    settings = settings_of(context, store, None, None, 1, 3600.0, as_json=as_json)
    raise typer.Exit(demo.show(scale, settings))
