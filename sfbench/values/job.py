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
SHARD_IMAGES = 1024
"""Features are stored, and shared by processes, in parts of so many images."""
OPEN = "open"
"""A file that says that parts of an evaluation are still wanted."""
Task = Literal["trial", "core", "fits", "warm", "help"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where a trial's process runs: variables for its environment, processors, memory node.

    No processors, or no node: any.
    """

    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    processors: tuple[int, ...] = ()
    memory_node: int | None = None


ANYWHERE = Placement()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The parent's request to one process: a case, its place in the run, the plugins to load.

    `plugins` and `disabled` say where plugins are looked for; `features` is the folder of stored
    features of real images, `pictures` the store that gets samples for people to see, and the
    influence of each image on what was measured (none: nothing is kept);
    `commit` that of the checkout which measures; `spawned` is the time at which the process was
    started (seconds since the epoch). `task`: a whole trial; "core", the throughput of the core
    region alone; "fits", whether the case runs at all; "warm": the cost of compiling with filled
    caches; "help": features for another process's trial, with which it shares the folders `claims`
    and `shards`. `memory_limit`: bytes beyond which allocations fail. `notes`: earlier readings, to
    be stored with the trial's own. `caches`: the folder of compiler caches; None for the user's
    own. `interpreter`: the Python whose sfbench measures; None for this one.
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
    claims: str | None = None
    shards: str | None = None
    commit: str | None = None
    task: Task = "trial"
    memory_limit: int | None = None
    notes: tuple[Reading, ...] = ()
    interpreter: str | None = None
    caches: str | None = None
    spawned: float = 0.0
    placement: Placement = ANYWHERE


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
        "placement": placement_from(document["placement"]),
    }
    return Job(**document)


def placement_from(document: Mapping[str, Any]) -> Placement:
    """Return the placement that JSON of all its fields holds."""
    return Placement(**{**document, "processors": tuple(document["processors"])})


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
