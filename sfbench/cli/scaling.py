"""Behind `sfbench scaling`: measure what is missing, fit, and show table and figure."""

from __future__ import annotations

import json
from pathlib import Path

from sfbench.api.errors import UsageError
from sfbench.cli import measuring
from sfbench.cli.exits import Exit
from sfbench.cli.measuring import Settings
from sfbench.report.figure_files import check_figure
from sfbench.values.case import Request
from sfbench.values.paths import model_names
from sfbench.values.sizes import parse_resolutions

FEWEST = 3


def show(request: Request, settings: Settings, figure: Path | None) -> Exit:
    """Measure and print; 5 when no model was measured at three resolutions or more."""
    check(request, figure)
    done = measuring.carried_out([request], settings)
    if done is None:
        return Exit.INTERRUPTED
    from sfbench.cli.terminal import console
    from sfbench.report import scaling_table

    records, catalogue = done.records, done.catalogue
    models = model_names(request.model)
    curves = [
        scaling_table.curve(name, [r for r in records if r.case["model"] == name])
        for name in models
    ]
    if settings.as_json:
        print(json.dumps(scaling_table.document(curves), indent=1))
    else:
        summaries = {name: catalogue.model(name).summary for name in models}
        console().print(scaling_table.table(curves, summaries))
    fits = [one for one in curves if one.scaling is not None]
    if figure is not None and fits:
        from sfbench.report import scaling_figure

        scaling_figure.write(fits, figure)
    if not fits:
        return Exit.NOTHING_MEASURED
    return Exit.OK if all(r.status == "ok" for r in records) else Exit.SOME_FAILED


def check(request: Request, figure: Path | None) -> None:
    """Raise UsageError for what gives no curve, before anything is measured."""
    check_figure(figure)
    if not request.batch.isdecimal():
        msg = f"--batch {request.batch}: scaling compares resolutions at one batch size; give one"
        raise UsageError(msg)
    for flag, value in (("dtype", request.dtype), ("mode", request.mode)):
        if "," in value:
            msg = f"--{flag} {value}: a curve needs a single value; give one"
            raise UsageError(msg)
    sides = parse_resolutions(request.res)
    if len(sides) < FEWEST:
        msg = f"--res {request.res}: a curve needs {FEWEST} resolutions or more, found {len(sides)}"
        raise UsageError(msg)
