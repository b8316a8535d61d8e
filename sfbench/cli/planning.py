"""Behind `sfbench plan` and `sfbench reproduce`: a suite before and after it is measured."""

from __future__ import annotations

import dataclasses
import json
import statistics
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sfbench.api.errors import UsageError
from sfbench.catalogue.catalogue import Catalogue
from sfbench.cli import defaults, measuring, train_first
from sfbench.cli.exits import Exit
from sfbench.cli.measuring import Settings
from sfbench.cli.progress import clock
from sfbench.run.grid import make_plan
from sfbench.run.plan_file import PlanDocument, document_of, trial_count, without, write_plan
from sfbench.run.schedule import Pending, pending_trials
from sfbench.run.suites import Row, requests_of
from sfbench.store.runs import Store
from sfbench.store.training_runs import TrainingRun, runs_of_store
from sfbench.values.case import Case, Request, plain
from sfbench.values.fields import names
from sfbench.values.messages import counted
from sfbench.values.records import Record

WIDTH = 79
FREE = frozenset({"weights", "files"})
"""Fields of a case that its suite does not fix."""
ELSEWHERE = frozenset(names(Case, "local"))
"""Fields of a case that come from the machine it was measured on."""


def planned(flags: Request, suite: str, scale: str, settings: Settings) -> Exit:
    """Print what a suite would measure, what is already measured, and the expected time."""
    found, rows = measuring.suite_rows(flags, suite, scale)
    catalogue = defaults.catalogue(settings.plugins, settings.disabled)
    store = Store(settings.store)
    stored, _ = store.load()
    runs = runs_of_store(settings.store)
    listed = [
        line for row, lacks in rows for line in lines(row, lacks, catalogue, store, stored, runs)
    ]
    if settings.as_json:
        print(json.dumps({"suite": found.name, "scale": found.scale, "rows": listed}, indent=1))
        return Exit.OK
    print(f"suite {found.name} at scale {found.scale}: {found.title}\n")
    print("\n".join(text(listed)))
    missing = [line for line in listed if line["state"] != "measured" and not line["needs"]]
    unknown = sum(line["seconds"] is None for line in missing)
    known = clock(sum(line["seconds"] or 0 for line in missing))
    print(
        f"\n{len(missing)} to measure: {known}" + f", and {unknown} of unknown time" * bool(unknown)
    )
    return Exit.OK


def written(flags: Request, suite: str, scale: str, settings: Settings, out: Path) -> Exit:
    """Write the plan of a suite to a file, for workers on any machine."""
    if out.is_dir() or not out.parent.is_dir():
        what = "is a folder" if out.is_dir() else f"there is no folder {out.parent}"
        msg = f"--out {out}: {what}; expected the name of a file, e.g. plan.json"
        raise UsageError(msg)
    document = plan_document(measuring.requests(flags, suite, scale), settings)
    write_plan(document, out)
    print(
        f"{out}: {counted(trial_count(document), 'trial')}; sfbench work --plan {out} carries it out"
    )
    return Exit.OK


def plan_document(asked: Sequence[Request], settings: Settings) -> PlanDocument:
    """Return requests as a plan that any machine can carry out."""
    catalogue = defaults.catalogue(settings.plugins, settings.disabled)
    pairs = []
    for request in asked:
        plan = make_plan(
            [request],
            catalogue,
            torch_home=defaults.torch_home(),
            trials=settings.trials,
            timeout_seconds=settings.timeout_seconds,
            elsewhere=True,
        )
        pairs.append((request, plan))
    return document_of(
        pairs,
        trials=settings.trials,
        timeout_seconds=settings.timeout_seconds,
        plugins=settings.plugins,
        disabled=settings.disabled,
    )


def text(listed: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the lines of a plan: each row's title, then its cases or what it needs."""
    title = None
    for line in listed:
        if line["row"] != title:
            title = line["row"]
            yield title
        seconds = clock(line["seconds"]) if line["seconds"] else "unknown"
        if line["needs"]:
            yield f"  {line['case']} needs"
            yield from (f"    {need}" for need in line["needs"])
            yield from textwrap.wrap(
                line["note"], WIDTH, initial_indent="    ", subsequent_indent="    "
            )
        else:
            yield f"  {line['case']:<48} {line['weights']:<8} {line['state']:<9} {seconds}"


def lines(  # a row, and all that is known
    row: Row,
    lacks: Sequence[str],
    catalogue: Catalogue,
    store: Store,
    stored: Sequence[Record],
    runs: Sequence[TrainingRun],
) -> Iterator[dict[str, Any]]:
    """Yield one line per case of a row, or one that says what the row needs."""
    base = {"row": row.title, "needs": list(lacks), "note": row.note}
    if lacks:
        title = f"{row.request.model} {row.request.res}px"
        yield base | {"case": title, "weights": "-", "state": "needs", "seconds": None}
        return
    asked, found = measuring.placed([row.request])
    machine = measuring.machine_of(found, measuring.given((), ()))
    plan = make_plan(
        asked, catalogue, torch_home=defaults.torch_home(), trials=1, timeout_seconds=1
    )
    cases = tuple(train_first.if_trained(case, catalogue, store.root) for case in plan.cases)
    plan = dataclasses.replace(plan, cases=cases)
    for trial in pending_trials(plan, catalogue, store, machine):
        case = trial.case
        state = "measured" if trial.stored is not None else "missing"
        if case.train_kimg is not None:
            state = f"train {case.train_kimg:g} kimg"
        yield base | {
            "case": f"{case.title()} {case.measure[0]}",
            "weights": case.weights.kind,
            "state": state,
            "seconds": expected_seconds(trial, stored, runs),
        }


def expected_seconds(
    trial: Pending, stored: Sequence[Record], runs: Sequence[TrainingRun]
) -> float | None:
    """Return the trial's duration, or that of its model's trials at that size; None: unknown.

    Training is estimated from the pace of finished and started runs in the store.
    """
    if trial.stored is not None:
        return trial.stored.seconds
    case = trial.case
    size = (case.model, case.resolution)
    same = [
        record
        for record in stored
        if record.status == "ok" and (record.case["model"], record.case["resolution"]) == size
    ]
    exact = [record for record in same if record.case.get("measure") == list(case.measure)]
    alike = [record.seconds for record in exact or same]
    if case.train_kimg is None:
        return statistics.median(alike) if alike else None
    paces = [
        float(line["seconds_per_kimg"])
        for run in runs
        if (run.asked.get("model"), run.asked.get("resolution")) == size
        for line in run.lines
        if line.get("seconds_per_kimg") is not None
    ]
    if not paces or not alike:
        return None
    return case.train_kimg * statistics.median(paces) + statistics.median(alike)


def reproduced(flags: Request, suite: str, scale: str, settings: Settings) -> Exit:
    """Measure what can be measured of a suite, and show it beside the published values."""
    found, rows = measuring.suite_rows(flags, suite, scale)
    asked = requests_of(rows)
    records: list[Record] = []
    if asked:
        done = measuring.carried_out(asked, settings)
        if done is None:
            return Exit.INTERRUPTED
        records = done.records
    from sfbench.report import reproduction  # pandas comes with it
    from sfbench.report.pairing import joined_records

    catalogue = defaults.catalogue(settings.plugins, settings.disabled)
    wanted = [
        reproduction.Wanted(
            title=row.title,
            published=row.published,
            lacks=lacks,
            records=[] if lacks else joined_records(records_of(row, records, catalogue)),
            store=settings.store,
        )
        for row, lacks in rows
    ]
    frame = reproduction.frame(wanted)
    if settings.as_json:
        print(frame.to_json(orient="records", indent=1))
    else:
        from sfbench.cli.terminal import console

        console().print(reproduction.table(frame, f"{found.title} (scale {found.scale})"))
        for row, lacks in rows:
            if lacks and row.note:
                note = f"{row.title}: {row.note}"
                print("\n".join(textwrap.wrap(note, WIDTH, subsequent_indent="  ")))
        if found.source:
            print(f"published values: {found.source}")
    if not records:
        return Exit.NOTHING_MEASURED
    return Exit.OK if frame["verdict"].isin(["agrees", "measured"]).all() else Exit.SOME_FAILED


def records_of(
    row: Row, records: Sequence[Record], catalogue: Catalogue, *, anywhere: bool = False
) -> list[Record]:
    """Return the records of a row's cases, whatever weights were trained for them.

    `anywhere`: made on any machine, compared with any real images.
    """
    plan = make_plan(
        [row.request], catalogue, torch_home=defaults.torch_home(), trials=1, timeout_seconds=1
    )
    free = FREE | ELSEWHERE if anywhere else FREE
    keys = {without(case.inputs(), free) for case in plan.cases}
    return [
        record for record in records if without(completed(record.case, catalogue), free) in keys
    ]


def completed(case: Mapping[str, Any], catalogue: Catalogue) -> dict[str, Any]:
    """Return a record's case with today's options: one that came later had its default."""
    model = catalogue.offered(str(case["model"]))
    usual = {} if model is None else {o.name: plain(o.default) for o in model.options}
    return {**case, "options": usual | dict(case["options"])}
