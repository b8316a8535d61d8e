"""Behind `sfbench doctor --aa`: how much identical code appears to differ on this machine."""

from __future__ import annotations

import json
import math
import sys

from sfbench.api.errors import UnsupportedError, UsageError
from sfbench.cli import defaults, noise, sides
from sfbench.cli.progress import PassProgress
from sfbench.report import comparison
from sfbench.run.live import measured_legs, quads_of
from sfbench.values.case import Request
from sfbench.values.job import Launcher
from sfbench.values.metric_names import CORE


def examined(
    model: str,
    quads: int,
    plugins: tuple[str, ...],
    disabled: tuple[str, ...],
    launcher: Launcher,
    *,
    as_json: bool,
) -> str:
    """Measure a case against itself, store the noise for `compare`, and return a summary."""
    if quads < 1:
        msg = f"--quads {quads}: expected a whole number, 1 or more"
        raise UsageError(msg)
    asked = sides.Asked(
        a=model,
        b=model,
        live=True,
        quads=quads,
        fail_on=(),
        store=defaults.STORE,
        launcher=launcher,
        plugins=plugins,
        disabled=disabled,
    )
    catalogue = defaults.catalogue(plugins, disabled)
    (job,) = sides.side_jobs(model, Request(model=""), catalogue, asked)
    bar = PassProgress(sys.stderr, live=sys.stderr.isatty(), quiet=False)
    legs = measured_legs(
        job, job, quads, launcher, timeout_seconds=sides.TRIALS_TIMEOUT, progress=bar
    )
    bar.clear()
    found = quads_of(legs, CORE)
    if found is None:
        msg = f"{model}: a process measured no throughput, so the noise is unknown"
        raise UnsupportedError(msg)
    result = comparison.of_quads(found)
    one = result.noise * math.sqrt(result.units)
    path = noise.keep(job.machine, job.case.device, one, quads)
    if as_json:
        facts = {
            "model": model,
            "quads": quads,
            "process_noise": one,
            "noise": result.noise,
            "margin": result.margin,
            "resolvable": result.resolvable,
            "ratio": result.ratio,
            "p": result.p,
            "values": [[quad.a, quad.b] for quad in found],
        }
        return json.dumps(facts, indent=1)
    return "\n".join(
        [
            f"{model} against itself, {quads} quads of fresh processes",
            f"one process   {100 * one:.2f} % standard deviation of images/s",
            f"{quads} quads       {100 * result.noise:.2f} % standard error of a ratio",
            f"this time     {result.ratio:.4f} (p {result.p:.2f}): identical code",
            f"margin        {100 * result.margin:.1f} %: less counts as same or inconclusive",
            f"resolves      {100 * result.resolvable:.1f} %: smaller differences may be missed",
            f"saved for sfbench compare: {path}",
        ]
    )
