"""Commands for many workers on one store: carry a plan out, and see how it stands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sfbench.api.errors import UsageError
from sfbench.cli import defaults
from sfbench.cli.commands.flags import AsJson, StoreFolder, launcher_of
from sfbench.cli.commands.once import Once
from sfbench.cli.commands.root import app


@app.command("work", cls=Once)
def work_command(
    context: typer.Context,
    plan: Annotated[Path, typer.Option(help="Plan to carry out: a file of sfbench plan --out.")],
    device: Annotated[
        str, typer.Option(help="Device of this worker: auto, KIND:NUMBER, or KIND:all.")
    ] = "auto",
    limit: Annotated[int | None, typer.Option(help="Measure at most N trials.")] = None,
    max_seconds: Annotated[
        float | None, typer.Option(help="Begin no trial after so many seconds.")
    ] = None,
    store: StoreFolder = defaults.STORE,
    *,
    trust: Annotated[
        bool, typer.Option("--trust", help="Run the code that the plan names: plugins, models.")
    ] = False,
) -> None:
    """Carry out a plan, beside any number of other workers; exits 0 when nothing is left."""
    for flag, value in (("--limit", limit), ("--max-seconds", max_seconds)):
        if value is not None and not value > 0:
            msg = f"{flag} {value:g}: expected a number above 0"
            raise UsageError(msg)
    from sfbench.cli import working

    share = working.Share(most=limit, seconds=max_seconds)
    raise typer.Exit(working.work(plan, store, device, share, launcher_of(context), trusted=trust))


@app.command("status", cls=Once)
def status_command(
    target: Annotated[Path, typer.Argument(help="Folder of a store, or the file of a plan.")],
    store: Annotated[
        Path, typer.Option("--store", help="Store of a plan that is given as a file.")
    ] = defaults.STORE,
    *,
    watch: Annotated[bool, typer.Option("--watch", help="Go on until everything is done.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show how plans stand: done, running (where, since when, in which phase), stale, failed."""
    from sfbench.cli import standings

    raise typer.Exit(standings.shown(target, store, watch=watch, as_json=as_json))
