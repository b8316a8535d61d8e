"""Behind `sfbench status`: how the plans of a store stand."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sfbench.api.errors import DataError, UsageError
from sfbench.cli.exits import Exit
from sfbench.cli.progress import clock, title_of, who
from sfbench.run.plan_file import name_of, read_plan, trial_count
from sfbench.run.standing import Follower, Standing, plans_of
from sfbench.store.claims import Holder
from sfbench.store.runs import Store
from sfbench.values.messages import counted
from sfbench.values.records import Record

SECONDS = 2.0
MOST_LINES = 20


def shown(target: Path, store: Path, *, watch: bool, as_json: bool) -> Exit:
    """Print how a plan, or each plan of a store, stands; with `watch` until all is done.

    Raises DataError for a store that cannot be read.
    """
    kept: dict[str, Follower] = {}  # each has read its records once
    try:
        while True:
            found = []
            for one in followers_of(target, store):
                follower = kept.setdefault(one.plan, one)
                follower.look()
                found.append((follower, follower.standing()))
            show(found, watch=watch, as_json=as_json)
            if not watch or all(standing.is_over for _, standing in found):
                return Exit.OK
            time.sleep(SECONDS)
    except OSError as error:
        msg = f"{error.filename or target}: cannot be read ({error.strerror or error})"
        raise DataError(msg) from None


def show(found: Sequence[tuple[Follower, Standing]], *, watch: bool, as_json: bool) -> None:
    """Print standings; with `watch`, JSON is one line each time."""
    if as_json:
        documents = [document_of(*pair) for pair in found]
        print(json.dumps(documents, indent=None if watch else 1), flush=True)
        return
    clear = "\x1b[2J\x1b[H" if watch and sys.stdout.isatty() else ""
    lines = [line for pair in found for line in lines_of(*pair)]
    if sys.stdout.isatty():
        width = shutil.get_terminal_size().columns
        lines = [line if len(line) <= width else f"{line[: width - 1]}…" for line in lines]
    print(clear + "\n".join(lines), flush=True)


def followers_of(target: Path, store: Path) -> Iterator[Follower]:
    """Yield what follows a plan file in a store, or the plans of a store, or the store itself."""
    if target.suffix == ".json":
        document = read_plan(target)
        yield Follower(Store(store), name_of(document), planned=trial_count(document))
        return
    folder = existing(target)
    plans = dict.fromkeys(plans_of(folder))
    submitted = sorted(folder.plans.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    counts = {path.stem: trial_count(read_plan(path)) for path in submitted}
    for plan in {**plans, **counts} or {"": None}:
        yield Follower(folder, plan, planned=counts.get(plan))


def existing(folder: Path) -> Store:
    """Return the store in a folder; raises UsageError if there is none."""
    if not (folder / "runs").is_dir():
        msg = f"{folder}: no store of records; expected a folder that sfbench run or work wrote to"
        raise UsageError(msg)
    return Store(folder)


def lines_of(follower: Follower, standing: Standing) -> Iterator[str]:
    """Yield what people read: counts, who works on what, and what failed."""
    head = f"plan {follower.plan}" if follower.plan else str(follower.store.root)
    counts = [
        f"{len(standing.done)}" + (f" of {standing.total}" if standing.total else "") + " done",
        f"{len(standing.running)} running",
        *([f"{len(standing.stale)} stale"] if standing.stale else []),
        *([f"{len(standing.failed)} failed"] if standing.failed else []),
        *([f"{standing.left} left"] if standing.left is not None else []),
    ]
    left = standing.seconds_left if standing.running else None
    pace = f" (about {clock(left)} left)" if left else ""
    pace = pace if standing.begun else "; no worker has begun"
    yield f"{head}: {', '.join(counts)}{pace}"
    for state, holders in (("running", standing.running), ("stale", standing.stale)):
        for holder in holders[:MOST_LINES]:
            what = holder.owner.get("what") or holder.name
            job = f", job {holder.owner['job']}" if holder.owner.get("job") else ""
            yield f"  {state} for {clock(holder.seconds)}: {what}: {who(holder)}{job}"
    for record in standing.failed[:MOST_LINES]:
        yield f"  failed: {named(record, standing)}: {record.status}: {record.reason}"
    hidden = len(standing.failed) - MOST_LINES
    if hidden > 0:
        yield f"  and {counted(hidden, 'trial')} more that failed"


def named(record: Record, standing: Standing) -> str:
    """Return what a record is of, with the options in which records of its model differ."""
    mine = record.case["options"]
    every = (*standing.done, *standing.failed)
    others = [one.case["options"] for one in every if one.case["model"] == record.case["model"]]
    apart = [f"{n}={v}" for n, v in mine.items() if any(one.get(n) != v for one in others)]
    return f"{title_of(record)} ({', '.join(apart)})" if apart else title_of(record)


def document_of(follower: Follower, standing: Standing) -> dict[str, Any]:
    """Return the same for machines."""
    return {
        "plan": follower.plan or None,
        "store": str(follower.store.root),
        "total": standing.total,
        "done": len(standing.done),
        "left": standing.left,
        "seconds_left": standing.seconds_left,
        "running": [claim_document(holder) for holder in standing.running],
        "stale": [claim_document(holder) for holder in standing.stale],
        "failed": [failure(record, standing) for record in standing.failed],
    }


def claim_document(holder: Holder) -> dict[str, Any]:
    """Return a claim: what, by whom, since when, and when it was last heard of."""
    owner = holder.owner
    return {
        "what": owner.get("what"),
        "phase": owner.get("phase"),
        "host": owner.get("host"),
        "process": owner.get("pid"),
        "job": owner.get("job") or None,
        "device": owner.get("device") or None,
        "seconds": holder.seconds,
        "idle_seconds": holder.idle_seconds,
    }


def failure(record: Record, standing: Standing) -> dict[str, Any]:
    """Return a trial that failed, and why."""
    return {
        "what": named(record, standing),
        "trial": record.trial,
        "attempt": record.attempt,
        "status": record.status,
        "reason": record.reason,
    }
