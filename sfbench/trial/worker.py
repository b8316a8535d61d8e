"""The main program of a trial's process: runs the trial and writes its record.

    python -m sfbench.trial.worker JOB.json RECORD.json EVENT_DESCRIPTOR

Events (phases and image counts) go as JSON lines to the descriptor, never inside a timed block.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sfbench.api.errors import (
    ContractError,
    NonFiniteError,
    SfbenchError,
    SkippedError,
    UnsupportedError,
    first_line,
)
from sfbench.hardware.leftovers import end_with, leave
from sfbench.hardware.places import settle
from sfbench.hardware.policy import out_of_memory
from sfbench.store.whole_file import write_whole
from sfbench.trial.state import Trial
from sfbench.trial.steps import carry_out
from sfbench.values.job import Job, job_from_json, record_of
from sfbench.values.metrics import METRICS, find_metric
from sfbench.values.records import Reading, Record, Status, record_to_json

REASON_LENGTH = 400
LINE_LENGTH, MOST_LINES = 300, 60


def measured(job: Job, emit: Callable[[Mapping[str, Any]], None]) -> Record:
    """Return the trial's record; every failure becomes its status and reason."""
    started = time.perf_counter()
    trial = Trial(job, emit)
    began = datetime.now(UTC)
    status: Status = "ok"
    reason = None
    try:
        carry_out(trial)
    except Exception as error:  # noqa: BLE001  # whatever a model raises is this case's outcome
        status = status_of(error)
        reason = shortened(error)
        trial.end_phase()
        trial.provenance["traceback"] = traceback_of(error)
    return record_of(
        job,
        status=status,
        reason=reason,
        readings=tuple(map(with_unit, [*untimed(trial), *trial.readings])),
        flags=tuple(trial.flags),
        provenance=trial.provenance,
        started=began.isoformat(timespec="seconds"),
        seconds=time.perf_counter() - started,
    )


def untimed(trial: Trial) -> Iterator[Reading]:
    """Yield the metrics that are not measured for existing images, with the reason."""
    if trial.untimed is None:
        return
    for metric in METRICS:
        if metric.column is not None and metric.family != "quality" and not metric.needs:
            yield Reading(metric=metric.name, reason=trial.untimed)


def with_unit(reading: Reading) -> Reading:
    """Return a reading with the unit of its metric's declaration."""
    declared = find_metric(reading.metric)
    return dataclasses.replace(reading, unit=declared.unit if declared else reading.unit)


def status_of(error: Exception) -> Status:
    """Return the status that an exception stands for."""
    if out_of_memory(error):
        return "oom"
    if isinstance(error, NonFiniteError):
        return "nonfinite"
    if isinstance(error, ContractError):
        return "contract_failed"
    if isinstance(error, UnsupportedError):
        return "unsupported"
    if isinstance(error, SkippedError):
        return "skipped"
    return "error"


def shortened(error: Exception) -> str:
    """Return an error in one line; of one that is not ours, where it was raised, too."""
    text = first_line(error, REASON_LENGTH)
    if isinstance(error, SfbenchError):
        return text
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {text}{place}"


def traceback_of(error: Exception) -> list[str]:
    """Return the lines of an error's traceback, the last ones of a long one."""
    lines = "".join(traceback.format_exception(error)).splitlines()
    kept = (line[:LINE_LENGTH] for line in lines[-MOST_LINES:])
    return [line if line.isprintable() else ascii(line)[1:-1] for line in kept]


def main(job_file: str, record_file: str, descriptor: str, parent: str = "") -> None:
    """Carry out the job, and write the record and its signature; `parent`: who started this process.

    The key for that comes on standard input, which is closed before any foreign code runs.
    """
    key = sys.stdin.readline().strip()
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    end_with(int(parent or os.getppid()))
    events = os.fdopen(int(descriptor), "w", buffering=1)

    def emit(event: Mapping[str, Any]) -> None:
        events.write(json.dumps(event) + "\n")

    job = job_from_json(Path(job_file).read_text(encoding="utf-8"))
    settle(job.placement)
    record = measured(job, emit)
    text = record_to_json(record)
    signature = hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()
    write_whole(Path(record_file).with_suffix(".sha256"), signature)
    write_whole(Path(record_file), text)


if __name__ == "__main__":
    main(*sys.argv[1:5])
    leave()
