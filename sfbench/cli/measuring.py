"""Behind `sfbench run`: from requests to stored records, a table, and an exit code."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sfbench.api.errors import SfbenchError, UsageError
from sfbench.catalogue.catalogue import Catalogue
from sfbench.cli import beside, defaults, sound, train_first
from sfbench.cli.exits import Exit
from sfbench.cli.progress import ProgressLines
from sfbench.data.sources import container_of
from sfbench.hardware.devices import find_backend, places
from sfbench.hardware.machine import machine_class
from sfbench.hardware.places import Place
from sfbench.quality.published import EMBEDDED, STANDARD
from sfbench.quality.weights import place
from sfbench.run.compile_caches import with_own_caches
from sfbench.run.grid import make_plan
from sfbench.run.schedule import Given, Listener, pending_trials
from sfbench.run.search import searched
from sfbench.run.standing import write_trials
from sfbench.run.suites import Row, Suite, completed, named, read_suite, requests_of
from sfbench.run.work import Worker
from sfbench.store.claims import Claims, Owner
from sfbench.store.runs import Store
from sfbench.values.case import Case, Request
from sfbench.values.job import Launcher
from sfbench.values.plan import Plan
from sfbench.values.records import Record, record_to_json


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to carry the run out, apart from what is measured."""

    store: Path
    launcher: Launcher
    plugins: tuple[str, ...]
    disabled: tuple[str, ...]
    trials: int
    timeout_seconds: float
    as_json: bool


def requests(flags: Request, suite: str | None, scale: str) -> list[Request]:
    """Return the requests given by flags or a suite; raises UsageError for both or neither.

    Flags that say what to measure are those of `Request`; without `model` they are ignored. With
    a suite, `data` and `weights` name the images and files that its rows need.
    """
    if bool(flags.model) == (suite is not None):
        msg = "give --model NAME or --suite NAME" + (", not both" if flags.model else "")
        raise UsageError(msg)
    if suite is None:
        sound.note_clashes(data=flags.data, weights=flags.weights)
        return [flags]
    found, rows = suite_rows(flags, suite, scale)
    missing = [(row, lacks) for row, lacks in rows if lacks]
    for row, lacks in missing:
        print(f"not run: {row.title}: needs {'; '.join(lacks)}", file=sys.stderr)
    if len(missing) == len(rows):
        msg = f"--suite {suite}: every row lacks data or weights it needs; see above"
        raise UsageError(msg)
    print(f"suite {found.name} at scale {found.scale}: {found.title}", file=sys.stderr)
    return requests_of(rows)


def suite_rows(flags: Request, suite: str, scale: str) -> tuple[Suite, list[tuple[Row, list[str]]]]:
    """Return a suite, and its rows with their given inputs and what they lack."""
    plain = Request(model="", device=defaults.device_flag("auto"))
    fields = [field.name for field in dataclasses.fields(flags)]
    given = [name for name in fields if getattr(flags, name) != getattr(plain, name)]
    stray = [f"--{name}" for name in given if name not in {"model", "data", "weights", "trust"}]
    if stray:
        msg = f"{', '.join(stray)}: not allowed with --suite; set it in the suite file"
        raise UsageError(msg)
    found = read_suite(suite, scale)
    known = {
        "data": {row.dataset for row in found.rows},
        "weights": {row.checkpoint for row in found.rows},
    }
    data, weights = (
        named(getattr(flags, name) if name in given else "", f"--{name}", names)
        for name, names in known.items()
    )
    rows = [
        (dataclasses.replace(row, request=completed_by(row.request, flags)), lacks)
        for row, lacks in completed(found, data, weights)
    ]
    return found, rows


def on_device(request: Request) -> Request:
    """Return the request with its device resolved from the environment."""
    return dataclasses.replace(request, device=defaults.device_flag(request.device))


def completed_by(request: Request, flags: Request) -> Request:
    """Return a suite's request with its device resolved, and with the trust that only a flag gives."""
    return dataclasses.replace(on_device(request), trust=flags.trust)


def run(asked: Sequence[Request], settings: Settings) -> Exit:
    """Measure what is missing, print the result, and return the exit code."""
    done = carried_out(asked, settings)
    if done is None:
        return Exit.INTERRUPTED
    show(done.records, settings)
    code = exit_code(done.records)
    if done.untrained:
        code = Exit.SOME_FAILED if done.records else Exit.NOTHING_MEASURED
    catalogue = done.catalogue
    wanted = any(e.problem and e.origin == "--plugin" for e in catalogue.plugins)
    return Exit.PLUGIN if code == Exit.OK and wanted else code


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """All records of a plan; `untrained`: cases whose training failed, which were not measured.

    `left`: trials that this process did not get to.
    """

    records: list[Record]
    catalogue: Catalogue
    untrained: list[SfbenchError]
    left: int = 0


def carried_out(
    asked: Sequence[Request], settings: Settings, *, again: bool = False
) -> Done | None:
    """Train and measure what is missing; None when interrupted.

    `again`: what readers must know was said before.
    """
    catalogue = defaults.catalogue(settings.plugins, settings.disabled)
    asked, found = placed(asked)
    plan = make_plan(
        asked,
        catalogue,
        torch_home=defaults.torch_home(),
        trials=settings.trials,
        timeout_seconds=settings.timeout_seconds,
    )
    Store(settings.store).prepare()
    if not again:
        announce_broken(catalogue)
        announce(plan)
        announce_images(plan)
    return measured(plan, catalogue, settings, found)


def measured(
    plan: Plan,
    catalogue: Catalogue,
    settings: Settings,
    found: Mapping[str, Place],
    *,
    name: str = "",
    most: int | None = None,
    seconds: float | None = None,
) -> Done | None:
    """Train what has no weights, then measure what is missing; None when interrupted.

    `found`: the device of each kind. `name`: of the plan, if it has one: then which trials it makes
    here is written down. `most`, `seconds`: as of `Worker`.
    """
    store = Store(settings.store)
    listener = ProgressLines(sys.stderr, live=sys.stderr.isatty(), told_apart=plan.told_apart)
    worker = worker_of(settings, found, listener, told_apart=plan.told_apart, plan=name)
    worker = dataclasses.replace(worker, most=most, seconds=seconds)
    try:
        plan, untrained = train_first.with_weights(plan, catalogue, worker)
    except KeyboardInterrupt:
        print(f"interrupted: training so far was saved in {settings.store}", file=sys.stderr)
        return None
    for failure in untrained:
        print(f"error: {failure}", file=sys.stderr)
    try:
        trials = pending_trials(plan, catalogue, store, machine_of(found, worker.given))
        if name:
            write_trials(store, name, trials)
        records = worker.carry_out(trials)
    except KeyboardInterrupt:
        listener.clear()
        print(f"interrupted: finished trials are kept in {store.runs}", file=sys.stderr)
        return None
    left = len(trials) - len(records)
    return Done(records=records, catalogue=catalogue, untrained=untrained, left=left)


def given(plugins: Sequence[str], disabled: Sequence[str]) -> Given:
    """Return what every process of a run is given."""
    return Given(
        plugins=plugins,
        disabled=disabled,
        environment=defaults.measuring_environment(),
        features=str(defaults.cache_folder() / "features"),
    )


def placed(asked: Sequence[Request]) -> tuple[list[Request], dict[str, Place]]:
    """Return requests that name the kind of their device, and which device of each kind it is.

    Raises UsageError for two devices of one kind. CPU threads are those near the device, if not
    told otherwise.
    """
    found: dict[str, Place] = {}
    changed = []
    for request in asked:
        place, *others = places(request.device)
        if others or found.setdefault(place.kind, place) != place:
            msg = f"--device {request.device}: expected one device of each kind"
            raise UsageError(msg)
        threads = request.threads or len(place.processors) or None
        changed.append(dataclasses.replace(request, device=place.kind, threads=threads))
    return changed, found


def machine_of(found: Mapping[str, Place], given: Given) -> dict[str, Any]:
    """Return this machine as identities see it: with the device, where there is one."""
    only = next(iter(found.values())) if len(found) == 1 else None
    return machine_class(only) | {"environment": given.environment}


def worker_of(
    settings: Settings,
    found: Mapping[str, Place],
    listener: Listener,
    *,
    told_apart: Callable[[Case], str],
    plan: str = "",
) -> Worker:
    """Return this process as a worker on the store, perhaps for a plan of that name.

    `found`: its device of each kind.
    """
    store = Store(settings.store)
    devices = ", ".join(place.unique for place in found.values() if place.driver is not None)
    owner: Owner = {"job": defaults.job_number(), "device": devices, "plan": plan}
    return Worker(
        store=store,
        claims=Claims(store.claims, owner),
        launcher=with_own_caches(searched(settings.launcher)),
        listener=listener,
        places=found,
        given=given(settings.plugins, settings.disabled),
        timeout_seconds=settings.timeout_seconds,
        told_apart=told_apart,
    )


def announce_broken(catalogue: Catalogue) -> None:
    """Say which plugins are broken."""
    for entry in catalogue.plugins:
        if entry.problem:
            print(f"warning: plugin {entry.name} is broken: {entry.problem}", file=sys.stderr)


def announce_images(plan: Plan) -> None:
    """Print what lies beside the real images and is left out."""
    for source in {case.data.path: case.data for case in plan.cases}.values():
        beside.announce("--data", container_of(source))


def announce(plan: Plan) -> None:
    """Print once what readers must know about quality numbers, and of a precision that costs time."""
    if any(case.extractor.kind == EMBEDDED for case in plan.cases):
        print(
            f"note: no Inception-v3 weights at {place(STANDARD, defaults.torch_home())}: distances "
            f"use the shipped {EMBEDDED} and are not FID (--extractor inception-v3 "
            "--extractor-weights download fetches them)",
            file=sys.stderr,
        )
    announce_precision((case.device, case.dtype) for case in plan.cases)


def announce_precision(wanted: Iterable[tuple[str, str]]) -> None:
    """Say which precisions a device only emulates."""
    for device, dtype in sorted(set(wanted)):
        backend = find_backend(device)
        lacking = backend.lacks(dtype)
        if lacking:
            print(
                f"note: {backend.processor()} has no instructions for {dtype} ({lacking}): "
                "emulated, it takes longer than fp32",
                file=sys.stderr,
            )


def show(records: Sequence[Record], settings: Settings) -> None:
    """Print the run's records: as JSON, or as the report's table."""
    if settings.as_json:
        print(json.dumps([json.loads(record_to_json(record)) for record in records], indent=1))
    else:
        from sfbench.cli import reporting  # pandas comes with it

        reporting.print_table(records, [f"records: {settings.store / 'runs'}"])


def exit_code(records: Sequence[Record]) -> Exit:
    """Return 0 when every trial is ok, 5 when none is, 1 in between."""
    good = sum(record.status == "ok" for record in records)
    if good == len(records):
        return Exit.OK
    return Exit.SOME_FAILED if good else Exit.NOTHING_MEASURED
