"""Behind `sfbench replay`: measure a stored trial again and compare the results."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sfbench.api.errors import DataError, UsageError
from sfbench.api.spec import PATHS
from sfbench.catalogue.catalogue import Catalogue
from sfbench.cli import defaults, measuring
from sfbench.cli.exits import Exit
from sfbench.cli.progress import ProgressLines
from sfbench.hardware.devices import places
from sfbench.report import replay
from sfbench.run.grid import make_plan
from sfbench.run.schedule import job_of, pending_trials
from sfbench.store.runs import Store, read
from sfbench.values.case import Request, request_of
from sfbench.values.job import Launcher
from sfbench.values.metric import FAMILIES, Family
from sfbench.values.records import Record, plugin_file


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A stored record, and the files that it names only by their sha256."""

    path: Path
    weights: str | None
    data: str | None
    option: tuple[str, ...]
    plugins: tuple[str, ...]
    disabled: tuple[str, ...]
    trusted: bool


def again(given: Given, *, only: str | None, launcher: Launcher, as_json: bool) -> Exit:
    """Measure the record's trial again; 0 when it is the same, 1 when it differs."""
    families = words_of(only)
    path = given.path
    stored, request, catalogue = asked_by(given)
    plan = make_plan(
        [request], catalogue, torch_home=defaults.torch_home(), trials=1, timeout_seconds=3600.0
    )
    (case,) = plan.cases
    case = dataclasses.replace(case, batch=stored.case["batch"], model=stored.case["model"])
    if case.key() != stored.case_key:
        different = [k for k, v in case.inputs().items() if v != stored.case.get(k)]
        msg = (
            f"{path}: its case cannot be reconstructed: {', '.join(different)} differ; give the "
            "files whose sha256 the record contains with --weights, --data or --option"
        )
        raise UsageError(msg)
    shared = measuring.given(given.plugins, given.disabled)
    machine = measuring.machine_of({case.device: places(case.device)[0]}, shared)
    (trial,) = pending_trials(
        dataclasses.replace(plan, cases=(case,)), catalogue, Store(path.parent), machine
    )
    listener = ProgressLines(sys.stderr, live=sys.stderr.isatty())
    listener.planned(1, 0)
    listener.started(case, 0)
    try:
        fresh = launcher(job_of(trial, shared), 3600.0, listener.event)
    except KeyboardInterrupt:
        print("interrupted: a replay saves nothing", file=sys.stderr)
        return Exit.INTERRUPTED
    listener.finished(fresh)
    rows = replay.rows(stored, fresh, families)
    changes = replay.changes(stored, fresh)
    same = replay.holds(stored, fresh, rows)
    if as_json:
        document = {
            "same": same,
            "status": [stored.status, fresh.status],
            "rows": [dataclasses.asdict(row) for row in rows],
            "changes": changes,
        }
        print(json.dumps(document, indent=1))
    else:
        from sfbench.cli.terminal import console

        console().print(replay.table(stored, fresh, rows, changes))
    return Exit.OK if same else Exit.SOME_FAILED


def asked_by(given: Given) -> tuple[Record, Request, Catalogue]:
    """Return a record, the request that leads to it, and the models that are installed.

    Raises DataError for anything but a record, UsageError where a file that it names is missing.
    """
    path, option = given.path, given.option
    stored = read(path)
    if not isinstance(stored, Record):
        msg = f"{path}: {stored.reason}; expected a record, e.g. from results/runs"
        raise DataError(msg)
    catalogue = defaults.catalogue(given.plugins, given.disabled)
    file = plugin_file(stored)
    if file is not None and catalogue.offered(stored.case["model"]) is None:
        msg = f"{path}: its model {stored.case['model']} is of a plugin file; give --plugin {file}"
        raise UsageError(msg)
    stray = [text for text in option if "=" not in text]
    if stray:
        msg = f"--option {stray[0]}: expected NAME=PATH"
        raise UsageError(msg)
    told = {text.partition("=")[0] for text in option}
    missing = sorted(path_options(catalogue, stored.case) - told)
    if missing:
        msg = (
            f"{path}: option {missing[0]} is a file or folder, and a record stores only its "
            f"sha256; give --option {missing[0]}=PATH"
        )
        raise UsageError(msg)
    request = with_files(request_of(stored.case), catalogue, option)
    request = dataclasses.replace(
        request,
        weights=given.weights or request.weights,
        data=given.data or request.data,
        trust=given.trusted,
    )
    return stored, request, catalogue


def with_files(request: Request, catalogue: Catalogue, given: Sequence[str]) -> Request:
    """Return a request with the files that were given, NAME=PATH, in place of the names of records."""
    paths = dict(text.split("=", 1) for text in given)
    bound = [paths.pop(name) for name in catalogue.model(request.model).bound if name in paths]
    kind = request.model.partition(":")[0]
    kept = (text for text in request.option if text.partition("=")[0] not in paths)
    return dataclasses.replace(
        request,
        model=f"{kind}:{bound[0]}" if bound else request.model,
        option=(*kept, *(f"{name}={path}" for name, path in paths.items())),
    )


def checked_spots(given: Given, device: str | None, *, as_json: bool) -> Exit:
    """Draw again the images of which the record kept fingerprints; 0 when they are the same, else 1."""
    stored, request, catalogue = asked_by(given)
    from sfbench.cli.spot_checking import spot_check

    return spot_check(
        given.path,
        stored,
        request,
        catalogue,
        given.plugins,
        given.disabled,
        device,
        as_json=as_json,
    )


def words_of(only: str | None) -> tuple[Family, ...]:
    """Return the families that --only names; raises UsageError for an unknown one."""
    named = FAMILIES if only is None else tuple(only.split(","))
    for word in named:
        if word not in FAMILIES:
            msg = f"--only {word}: expected {', '.join(FAMILIES)}"
            raise UsageError(msg)
    return tuple(family for family in FAMILIES if family in named)


def path_options(catalogue: Catalogue, case: Mapping[str, Any]) -> set[str]:
    """Return the names of the case's options that are files or folders."""
    kinds = {option.name: option.kind for option in catalogue.model(case["model"]).options}
    return {n for n, v in case["options"].items() if v is not None and kinds.get(n) in PATHS}
