"""Behind `sfbench compare`: two sides, live or from stored records, verdicts and an exit code."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from sfbench.api.errors import UsageError
from sfbench.catalogue.catalogue import Catalogue
from sfbench.cli import defaults, noise, quality_live
from sfbench.cli.exits import Exit
from sfbench.cli.progress import PassProgress, clock
from sfbench.cli.sides import TRIALS_TIMEOUT, Asked, side_jobs
from sfbench.hardware.devices import find_backend
from sfbench.hardware.machine import machine_class
from sfbench.report import comparison, verdict_table, verdicts
from sfbench.report.beside import Beside
from sfbench.report.verdicts import Row
from sfbench.run.identity import Identities
from sfbench.run.live import ORDER, LegError, measured_legs, quads_of
from sfbench.store.quads import KeptQuads
from sfbench.store.runs import Store
from sfbench.values.case import Case, Request
from sfbench.values.job import Job
from sfbench.values.messages import counted
from sfbench.values.metric_names import CORE
from sfbench.values.records import digest
from sfbench.values.timing import BLOCK_SECONDS, BLOCKS

START_SECONDS = 3.0
"""Least time from the start of a process to its first block."""


def compare(asked: Asked, shared: Request, *, as_json: bool) -> Exit:
    """Print the verdicts; 4 for a confirmed regression of a kind in --fail-on, 6 if one is open."""
    unknown = sorted(set(asked.fail_on) - set(verdicts.KINDS))
    if unknown:
        msg = f"--fail-on {unknown[0]}: expected {', '.join(verdicts.KINDS)}"
        raise UsageError(msg)
    if asked.live:
        found = live_rows(asked, shared)
    elif asked.sequential:
        found = sequential_rows(asked, shared)
    else:
        found = stored_rows(asked)
    if found is None:
        return Exit.INTERRUPTED
    if not found:
        print("nothing to compare: no case was measured on both sides", file=sys.stderr)
        return Exit.NOTHING_MEASURED
    if as_json:
        print(json.dumps([verdicts.document(row) for row in found], indent=1))
    else:
        from sfbench.cli.terminal import console

        console().print(verdict_table.table(found, asked.a, asked.b))
    return code(found, asked.fail_on)


def sequential_rows(asked: Asked, shared: Request) -> list[Row] | None:
    """Compare quality alone, with as many images as it needs; None if interrupted."""
    catalogue = defaults.catalogue(asked.plugins, asked.disabled)
    found: list[Row] = []
    try:
        pairs = pairs_to_judge(asked, shared, catalogue)
        for row in quality_live.rows(asked, pairs, catalogue, sequential=True):
            found.append(row)  # noqa: PERF402  # those so far are kept
    except KeyboardInterrupt:
        print("interrupted: what was settled is shown; no images are kept", file=sys.stderr)
        return found or None
    return found


def pairs_to_judge(asked: Asked, shared: Request, catalogue: Catalogue) -> list[tuple[Case, Case]]:
    """Return the pairs of cases whose quality is compared: none without real images."""
    if not shared.data:
        return []
    return quality_live.pairs_of(asked, shared, catalogue, sequential=asked.sequential)


def stored_rows(asked: Asked) -> list[Row]:
    """Compare two folders or files of records, or two models of the store."""
    sides = (asked.a, asked.b)
    paths = [Path(side) for side in sides]
    if all(path.exists() for path in paths):
        beside = Beside(tuple(map(store_of, paths)))
        first, second = (verdicts.read_records(path) for path in paths)
        found = verdicts.same_cases(first, second, beside)
        if not found and all(path.is_file() for path in paths):
            found = verdicts.two_records(first[0], second[0], beside)
    else:
        beside = Beside((asked.store, asked.store))
        found = verdicts.two_models(Store(asked.store).load()[0], *sides, beside)
    return [limited(row, asked.margin_limit) for row in found]


def store_of(path: Path) -> Path:
    """Return the store that a folder of records is, or that a record's file lies in."""
    return path if path.is_dir() else path.parent.parent


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
    judged = pairs_to_judge(asked, shared, catalogue)
    known = noise.known(sides[0][0].machine, sides[0][0].case.device)
    count = len(sides[0]) * asked.quads * len(ORDER)
    kept = [kept_quads(a, b, asked, catalogue) for a, b in zip(*sides, strict=True)]
    there = sum(min(len(one.load()), asked.quads) for one in kept if one is not None)
    announce(count, there * len(ORDER), sides[0], asked)
    rows: list[Row] = []
    try:
        for a, b, one in zip(*sides, kept, strict=True):
            rows += one_case(a, b, asked, known, one)
        for row in quality_live.rows(asked, judged, catalogue, sequential=asked.sequential):
            rows.append(row)  # those so far are kept
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
    if row.verdict != row.kind or not row.interleaved:
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
