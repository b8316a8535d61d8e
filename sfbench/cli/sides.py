"""The two sides of a comparison: what each asks for, MODEL[,key=value]..., and its jobs."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from sfbench.api.errors import UsageError
from sfbench.catalogue.catalogue import Catalogue
from sfbench.cli import defaults
from sfbench.hardware.machine import machine_class
from sfbench.report import comparison
from sfbench.run.grid import make_plan
from sfbench.run.schedule import machine_digest
from sfbench.values.case import Case, Request
from sfbench.values.job import Job, Launcher
from sfbench.values.paths import model_names

TRIALS_TIMEOUT = 3600.0
SIDE_KEYS = frozenset({"res", "batch", "dtype", "mode", "device", "weights"})
"""Flags that the two sides may differ in, written MODEL,key=value."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What to compare and how."""

    a: str
    b: str
    live: bool
    quads: int
    fail_on: tuple[str, ...]
    store: Path
    launcher: Launcher
    sequential: bool = False
    margin_limit: float = comparison.LARGEST_MARGIN
    plugins: tuple[str, ...] = ()
    disabled: tuple[str, ...] = ()


def side_request(text: str, shared: Request) -> tuple[Request, str | None]:
    """Return what a side asks for, MODEL[,key=value]...: flags, options or python; and its Python."""
    model, *pairs = model_names(text)
    changes: dict[str, Any] = {"model": model}
    options = list(shared.option)
    interpreter = None
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            msg = f"{text}: {pair}: expected MODEL,key=value (keys: python, flags, model options)"
            raise UsageError(msg)
        if name == "python":
            interpreter = str(Path(value).absolute())
            if not Path(interpreter).exists():
                msg = f"{text}: python={value}: no such file; give another installation's Python"
                raise UsageError(msg)
        elif name in {"seed", "threads"}:
            if not value.isdecimal():
                msg = f"{text}: {pair}: expected a whole number"
                raise UsageError(msg)
            changes[name] = int(value)
        elif name in SIDE_KEYS:
            changes[name] = value
        else:
            options.append(pair)
    return dataclasses.replace(shared, **changes, option=tuple(options)), interpreter


def side_jobs(text: str, shared: Request, catalogue: Catalogue, asked: Asked) -> list[Job]:
    """Return one job per case of a side."""
    request, interpreter = side_request(text, dataclasses.replace(shared, measure="speed"))
    plan = make_plan(
        [request],
        catalogue,
        torch_home=defaults.torch_home(),
        trials=1,
        timeout_seconds=TRIALS_TIMEOUT,
    )
    if any(case.batch_rule != "fixed" for case in plan.cases):
        msg = f"{text}: expected fixed batch sizes, e.g. --batch 8; find one with sfbench run"
        raise UsageError(msg)
    environment = defaults.measuring_environment()
    machine = machine_digest(machine_class())
    return [job(case, catalogue, asked, environment, machine, interpreter) for case in plan.cases]


def job(
    case: Case,
    catalogue: Catalogue,
    asked: Asked,
    environment: dict[str, str],
    machine: str,
    interpreter: str | None,
) -> Job:
    """Return the job of one process of a quad."""
    return Job(
        case=case,
        identity="",
        trial=0,
        attempt=0,
        machine=machine,
        plugin=catalogue.model(case.model).plugin,
        plugins=asked.plugins,
        disabled=asked.disabled,
        environment=environment,
        features="",
        task="core",
        interpreter=interpreter,
    )
