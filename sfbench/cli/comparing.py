"""Behind `sfbench compare`: two sides, live or from stored records, verdicts and an exit code."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sfbench.api.errors import UsageError
from sfbench.catalogue.catalogue import Catalogue
from sfbench.cli import defaults, noise
from sfbench.cli.exits import Exit
from sfbench.cli.progress import PassProgress, clock
from sfbench.hardware.devices import find_backend
from sfbench.hardware.machine import machine_class
from sfbench.report import comparison, verdict_table, verdicts
from sfbench.report.verdicts import Row
from sfbench.run.grid import make_plan
from sfbench.run.identity import Identities
from sfbench.run.live import ORDER, LegError, measured_legs, quads_of
from sfbench.run.schedule import machine_digest
from sfbench.store.quads import KeptQuads
from sfbench.store.runs import Store
from sfbench.values.case import Case, Request
from sfbench.values.job import Job, Launcher
from sfbench.values.messages import counted
from sfbench.values.metric_names import CORE
from sfbench.values.paths import model_names
from sfbench.values.records import digest
from sfbench.values.timing import BLOCK_SECONDS, BLOCKS

TRIALS_TIMEOUT = 3600.0
START_SECONDS = 3.0
"""Least time from the start of a process to its first block."""
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
    margin_limit: float = comparison.LARGEST_MARGIN
    plugins: tuple[str, ...] = ()
    disabled: tuple[str, ...] = ()


def compare(asked: Asked, shared: Request, *, as_json: bool) -> Exit:
    """Print the verdicts; 4 for a confirmed regression of a kind in --fail-on, 6 if one is open."""
    unknown = sorted(set(asked.fail_on) - set(verdicts.KINDS))
    if unknown:
        msg = f"--fail-on {unknown[0]}: expected {', '.join(verdicts.KINDS)}"
        raise UsageError(msg)
    found = live_rows(asked, shared) if asked.live else stored_rows(asked)
    if found is None:
        return Exit.INTERRUPTED
    if not found:
        print("nothing to compare: no case was measured on both sides", file=sys.stderr)
        return Exit.NOTHING_MEASURED
    if as_json:
        print(json.dumps([verdicts.document(row) for row in found], indent=1))
    else:
        from sfbench.cli.reporting import console

        console().print(verdict_table.table(found, asked.a, asked.b))
    return code(found, asked.fail_on)


def stored_rows(asked: Asked) -> list[Row]:
    """Compare two folders or files of records, or two models of the store."""
    sides = (asked.a, asked.b)
    if all(Path(side).exists() for side in sides):
        found = verdicts.same_cases(*(verdicts.read_records(Path(side)) for side in sides))
    else:
        found = verdicts.two_models(Store(asked.store).load()[0], *sides)
    return [limited(row, asked.margin_limit) for row in found]


def limited(row: Row, limit: float) -> Row:
    """Return the row under the limit of the margin that was asked for."""
    if row.result is None:
        return row
    return dataclasses.replace(row, result=dataclasses.replace(row.result, limit=limit))


def code(rows: Sequence[Row], fail_on: Sequence[str]) -> Exit:
    """Return the exit code for these verdicts."""
    if any(row.failure for row in rows):
        return Exit.SOME_FAILED
    gated = [row for row in rows if row.kind in fail_on]
    if any(row.verdict == row.kind and row.confirmed for row in gated):
        return Exit.REGRESSION
    if set(fail_on) - {row.kind for row in gated}:
        return Exit.INCONCLUSIVE  # a requested kind was not measured
    return (
        Exit.INCONCLUSIVE
        if any(row.verdict != "same" and not row.better for row in gated)
        else Exit.OK
    )


def live_rows(asked: Asked, shared: Request) -> list[Row] | None:
    """Measure both sides now; a regression is measured once more before it counts."""
    catalogue = defaults.catalogue(asked.plugins, asked.disabled)
    sides = [side_jobs(text, shared, catalogue, asked) for text in (asked.a, asked.b)]
    if len(sides[0]) != len(sides[1]):
        msg = f"A has {len(sides[0])} cases, B has {len(sides[1])}; both must cover the same grid"
        raise UsageError(msg)
    check_quads(asked.quads, len(sides[0]))
    known = noise.known(sides[0][0].machine, sides[0][0].case.device)
    count = len(sides[0]) * asked.quads * len(ORDER)
    kept = [kept_quads(a, b, asked, catalogue) for a, b in zip(*sides, strict=True)]
    there = sum(min(len(one.load()), asked.quads) for one in kept if one is not None)
    announce(count, there * len(ORDER), sides[0], asked)
    rows: list[Row] = []
    try:
        for a, b, one in zip(*sides, kept, strict=True):
            rows += one_case(a, b, asked, known, one)
        rows = verdicts.adjusted(rows)
        rows = [again(row, sides, asked, known) for row in rows]
    except KeyboardInterrupt:
        there = sum(len(one.load()) for one in kept if one is not None)
        total = len(sides[0]) * asked.quads
        print(
            f"interrupted: {there} of {total} quads are kept in {asked.store / 'quads'}; repeat the "
            "command to go on",
            file=sys.stderr,
        )
        return None
    for one in kept:
        if one is not None:
            one.clear()
    return rows


def check_quads(quads: int, cases: int) -> None:
    """Raise UsageError for too few quads to show any difference in that many cases."""
    fewest = comparison.fewest_quads(cases)
    if quads < fewest:
        need = f"{counted(cases, 'case')} {'needs' if cases == 1 else 'need'} {fewest} or more"
        msg = f"--quads {quads}: {need}; with fewer, no difference can be statistically significant"
        raise UsageError(msg)


def announce(count: int, there: int, jobs: Sequence[Job], asked: Asked) -> None:
    """Say what the comparison costs, before it starts."""
    backend = find_backend(jobs[0].case.device)
    timed = BLOCKS * BLOCK_SECONDS
    least = (count - there) * (START_SECONDS + backend.warmup_seconds + timed)
    already = f" ({there} are kept from an interrupted comparison)" if there else ""
    print(
        f"{count} processes to measure in{already}: {counted(len(jobs), 'case')}, {asked.quads} "
        f"quads each, {clock(least)} or more; what shows a regression is measured again",
        file=sys.stderr,
    )


def kept_quads(a: Job, b: Job, asked: Asked, catalogue: Catalogue) -> KeptQuads | None:
    """Return where the finished quads of these cases are kept.

    None where one side is another installation, whose code is not known here.
    """
    if a.interpreter or b.interpreter:
        return None
    identities = Identities(machine_class() | {"environment": a.environment})
    sides = [identities.of(job.case, catalogue.model(job.case.model)) for job in (a, b)]
    return KeptQuads(asked.store, digest(sides)[:24])


def one_case(
    a: Job, b: Job, asked: Asked, known: float | None, kept: KeptQuads | None = None
) -> list[Row]:
    """Return the rows of one pair of cases: speed and memory."""
    bar = PassProgress(sys.stderr, live=sys.stderr.isatty(), quiet=False)
    try:
        legs = measured_legs(
            a,
            b,
            asked.quads,
            asked.launcher,
            timeout_seconds=TRIALS_TIMEOUT,
            progress=bar,
            kept=kept,
        )
    except LegError as error:
        return [Row(title=verdicts.title(a.case, b.case), metric=CORE, failure=str(error))]
    finally:
        bar.clear()
    rows = []
    read = {metric for quad in legs for leg in quad for metric in leg.values}
    for metric in (*verdicts.SPEED, verdicts.peak_metric(a.case.mode, read)):
        found = quads_of(legs, metric)
        if found is None:
            continue
        one = known if metric == CORE else None
        rows.append(
            Row(
                title=verdicts.title(a.case, b.case),
                metric=metric,
                result=comparison.of_quads(found, one),
                interleaved=True,
                values=[[list(quad.a), list(quad.b)] for quad in found],
                noise_from="same-side pairs of these quads"
                + (" or doctor --aa, whichever is larger" if one is not None else ""),
            )
        )
    return [limited(row, asked.margin_limit) for row in rows]


def again(row: Row, sides: Sequence[Sequence[Job]], asked: Asked, known: float | None) -> Row:
    """Return the row, measured again where it shows a regression: it must recur to count."""
    if row.verdict != row.kind:
        return row
    print(f"{row.title}: {row.verdict}; measuring again", file=sys.stderr)
    for a, b in zip(*sides, strict=True):
        if verdicts.title(a.case, b.case) == row.title:
            found = one_case(a, b, asked, known)
            second = next((r for r in found if r.metric == row.metric), found[0])
            return dataclasses.replace(
                row, second=second.result, recurred=second.verdict == row.verdict
            )
    return row


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
