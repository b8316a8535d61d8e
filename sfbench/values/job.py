"""What the parent passes to a trial's process, as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any, Literal

from sfbench.values.case import Case, case_from
from sfbench.values.paths import shown_name
from sfbench.values.records import Reading, Record, reading_from

OnEvent = Callable[[Mapping[str, Any]], None]
"""Receives phases and image counts while a trial runs."""
Task = Literal["trial", "core", "fits", "warm"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The parent's request to one process: a case, its place in the run, the plugins to load.

    `plugins` and `disabled` say where plugins are looked for; `features` is the folder of stored
    features of real images, `pictures` the store whose album gets samples (none: no album);
    `commit` that of the checkout which measures; `spawned` is the time at which the
    process was started (seconds since the epoch). `task`: a whole trial; "core", the throughput of
    the core region alone; "fits", whether the case runs at all. `memory_limit`: bytes beyond which
    allocations fail. `notes`: earlier readings, to be stored with the trial's own.
    "warm": the cost of compiling with filled caches. `caches`: the folder of compiler caches; None
    for the user's own. `interpreter`: the Python whose sfbench measures; None for this one.
    """

    case: Case
    identity: str
    trial: int
    attempt: int
    machine: str
    plugin: str
    plugins: tuple[str, ...]
    disabled: tuple[str, ...]
    environment: Mapping[str, str]
    features: str
    extractor_plugin: str | None = None
    pictures: str | None = None
    commit: str | None = None
    task: Task = "trial"
    memory_limit: int | None = None
    notes: tuple[Reading, ...] = ()
    interpreter: str | None = None
    caches: str | None = None
    spawned: float = 0.0


Launcher = Callable[[Job, float, OnEvent], Record]
"""Runs a job with a time limit in seconds and returns its record, however the job ends."""


def job_to_json(job: Job) -> str:
    """Return the job as JSON text."""
    return json.dumps(dataclasses.asdict(job))


def job_from_json(text: str) -> Job:
    """Return the job that `job_to_json` wrote."""
    document = json.loads(text)
    document |= {
        "case": case_from(document["case"]),
        "plugins": tuple(document["plugins"]),
        "disabled": tuple(document["disabled"]),
        "notes": tuple(reading_from(entry) for entry in document["notes"]),
    }
    return Job(**document)


def record_of(job: Job, **outcome: Any) -> Record:
    """Return the record of a job's trial; `outcome`: the fields that say how it ended."""
    return Record(
        identity=job.identity,
        case_key=job.case.key(),
        case=case_document(job.case),
        trial=job.trial,
        attempt=job.attempt,
        machine=job.machine,
        **outcome,
    )


def case_document(case: Case) -> dict[str, Any]:
    """Return the case as stored: its canonical inputs, and the names of its source files."""
    names = {
        "weights": case.weights.path,
        "data": case.data.path,
        "extractor": case.extractor.path,
    }
    digested = dict(case.option_sources)
    names |= {f"option.{n}": str(v) for n, v in case.options.items() if n in digested}
    files = {name: shown_name(path) for name, path in names.items() if path is not None}
    return case.inputs() | {"files": files}
