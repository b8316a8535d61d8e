"""Starts one process per trial on this machine, and makes a Record of however it ends."""

from __future__ import annotations

import dataclasses
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from sfbench.values.job import Job, OnEvent, case_document, job_to_json
from sfbench.values.records import Record, Status, record_from_json

LAST_WAIT_SECONDS = 10
CHUNK = 65_536


def launch(job: Job, timeout_seconds: float, on_event: OnEvent) -> Record:
    """Measure the job in a new process and return its record; blocks without spinning.

    A process that dies, hangs or writes nothing gives a record with status killed, timeout or
    error. An interrupt ends the process and is raised again.
    """
    started, clock = datetime.now(UTC), time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="sfbench-") as name:
        folder = Path(name)
        timed = dataclasses.replace(job, spawned=time.time())
        (folder / "job.json").write_text(job_to_json(timed), encoding="utf-8")
        child, events = spawn(folder, job)
        try:
            ended = follow(child, events, timeout_seconds, on_event)
        finally:
            os.close(events)
            end(child)
        written = folder / "record.json"
        if written.exists():
            return record_from_json(written.read_text(encoding="utf-8"))
        output = (folder / "output.log").read_text(encoding="utf-8", errors="replace")
    status, reason = outcome(child.returncode, output, None if ended else timeout_seconds)
    return Record(
        identity=job.identity,
        case_key=job.case.key(),
        case=case_document(job.case),
        trial=job.trial,
        attempt=job.attempt,
        status=status,
        reason=reason,
        machine=job.machine,
        started=started.isoformat(timespec="seconds"),
        seconds=time.perf_counter() - clock,
    )


def spawn(folder: Path, job: Job) -> tuple[subprocess.Popen[bytes], int]:
    """Start the worker in its own session; return it and the descriptor of its events."""
    reader, writer = os.pipe()
    # -P: another installation must not import the sfbench of the current folder.
    command = [sys.executable] if job.interpreter is None else [job.interpreter, "-P"]
    command += ["-m", "sfbench.trial.worker"]
    command += [str(folder / "job.json"), str(folder / "record.json"), str(writer)]
    with (folder / "output.log").open("wb") as output:
        child = subprocess.Popen(  # noqa: S603  # our own module, by an interpreter of the user's
            command,
            env=os.environ | compiler_caches(job.caches),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=(writer,),
            start_new_session=True,
        )
    os.close(writer)
    return child, reader


def compiler_caches(folder: str | None) -> dict[str, str]:
    """Return the environment variables that set the cache folders of torch's compilers."""
    if folder is None:
        return {}
    return {
        "TORCHINDUCTOR_CACHE_DIR": f"{folder}/inductor",
        "TRITON_CACHE_DIR": f"{folder}/triton",
        "CUDA_CACHE_PATH": f"{folder}/cuda",
    }


def follow(
    child: subprocess.Popen[bytes], events: int, timeout_seconds: float, on_event: OnEvent
) -> bool:
    """Pass events on until the worker closes them; return False on timeout."""
    deadline = time.monotonic() + timeout_seconds
    rest = b""
    while True:
        ready, _, _ = select.select([events], [], [], max(deadline - time.monotonic(), 0))
        if not ready:
            return False
        chunk = os.read(events, CHUNK)
        if not chunk:
            break
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            on_event(json.loads(line))
    try:
        child.wait(timeout=min(LAST_WAIT_SECONDS, max(deadline - time.monotonic(), 0)))
    except subprocess.TimeoutExpired:
        return False
    return True


def end(child: subprocess.Popen[bytes]) -> None:
    """Kill the worker and everything it started, if it is still running."""
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def outcome(code: int, output: str, timed_out: float | None) -> tuple[Status, str]:
    """Return status and reason of a worker that left no record."""
    if timed_out is not None:
        return "timeout", f"not finished after {timed_out:g} s (--timeout)"
    if code < 0:
        name = signal.Signals(-code).name
        hint = " (manually, or by the system when memory ran out)" if name == "SIGKILL" else ""
        return "killed", f"its process was ended by {name}{hint}"
    lines = output.strip().splitlines()
    return "error", f"its process ended with status {code}: {lines[-1] if lines else 'no output'}"
