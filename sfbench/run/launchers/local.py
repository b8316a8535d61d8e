"""Starts one process per trial on this machine and turns its outcome, whatever it is, into a Record.

What a trial's process says is believed as far as it can be checked, no further: it runs foreign code.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import hmac
import json
import os
import secrets
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sfbench.hardware import leftovers
from sfbench.values.job import Job, OnEvent, job_to_json, record_of
from sfbench.values.records import Record, Status, record_from_json

LAST_WAIT_SECONDS = 10
POLL_SECONDS = 0.5
CHUNK = 65_536
LONGEST_LINE = 65_536
"""An event is a phase and two counts; what is longer is none."""


def launch(job: Job, timeout_seconds: float, on_event: OnEvent) -> Record:
    """Measure the job in a fresh process and return its record; blocks without spinning.

    A process that dies, hangs, writes nothing, or a record that is not its own, gives a record with
    status killed, timeout or error. Whatever it started is ended with it. An interrupt ends the
    process and is raised again.
    """
    started, clock = datetime.now(UTC), time.perf_counter()
    with leftovers.child_folder() as folder:
        timed = dataclasses.replace(job, spawned=time.time())
        (folder / "job.json").write_text(job_to_json(timed), encoding="utf-8")
        key = secrets.token_hex()
        child, events = spawn(folder, job, key)
        try:
            ended = follow(child, events, timeout_seconds, on_event, folder / "record.json")
        finally:
            os.close(events)
            end(child)
            leftovers.end_all(str(folder))
        complaint = ""
        try:
            record = read_record(folder, key)
        except ForeignRecordError as error:
            record, complaint = None, str(error)
        if record is not None and ended:
            return record
        output = last_output(folder)
    status, reason = outcome(child.returncode, output, None if ended else timeout_seconds)
    if complaint and status == "error":
        reason = complaint
    return record_of(
        job,
        status=status,
        reason=reason,
        started=started.isoformat(timespec="seconds"),
        seconds=time.perf_counter() - clock,
    )


def spawn(folder: Path, job: Job, key: str) -> tuple[subprocess.Popen[bytes], int]:
    """Start the worker in a session of its own; return it and the descriptor of its events.

    It gets `key` on standard input, before any foreign code runs, to sign its record with.
    """
    reader, writer = os.pipe()
    # -P: nothing in the current folder may stand in for a module, another sfbench least of all.
    command = [job.interpreter or sys.executable, "-P", "-m", "sfbench.trial.worker"]
    command += [
        str(folder / "job.json"),
        str(folder / "record.json"),
        str(writer),
        str(os.getpid()),
    ]
    with (folder / "output.log").open("wb") as output:
        child = subprocess.Popen(  # noqa: S603  # our own module, by an interpreter of the user's
            command,
            env={
                **os.environ,
                **compiler_caches(job.caches),
                **job.placement.environment,
                leftovers.MARK: str(folder),
            },
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=(writer,),
            start_new_session=True,
        )
    os.close(writer)
    with contextlib.suppress(BrokenPipeError):
        assert child.stdin is not None  # noqa: S101  # a pipe was asked for
        child.stdin.write(key.encode() + b"\n")
        child.stdin.close()
    return child, reader


def compiler_caches(folder: str | None) -> dict[str, str]:
    """Return the variables that set the cache folders of torch's compilers."""
    if folder is None:
        return {}
    return {
        "TORCHINDUCTOR_CACHE_DIR": f"{folder}/inductor",
        "TRITON_CACHE_DIR": f"{folder}/triton",
        "CUDA_CACHE_PATH": f"{folder}/cuda",
    }


def follow(
    child: subprocess.Popen[bytes],
    events: int,
    timeout_seconds: float,
    on_event: OnEvent,
    record: Path,
) -> bool:
    """Pass events on until the worker has ended; return False once the time is over.

    The process is waited for, not the pipe, which a child of its own may hold open. One that has
    written its record and does not end is not waited for long.
    """
    deadline = time.monotonic() + timeout_seconds
    lines = EventLines()
    with ending_of(child) as ending:
        watched = [events, *ending]
        while child.poll() is None:
            left = deadline - time.monotonic()
            if events not in watched and record.exists():
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(timeout=min(LAST_WAIT_SECONDS, max(left, 0)))
                return True
            if left <= 0:
                return False
            # Without a descriptor that tells of the end, it is asked for now and then.
            ready, _, _ = select.select(
                watched, [], [], left if ending else min(POLL_SECONDS, left)
            )
            if events in ready:
                chunk = os.read(events, CHUNK)
                watched = watched if chunk else ending
                for event in lines.of(chunk):
                    on_event(event)
    while select.select([events], [], [], 0)[0] and (chunk := os.read(events, CHUNK)):
        for event in lines.of(chunk):
            on_event(event)
    return True


@contextlib.contextmanager
def ending_of(child: subprocess.Popen[bytes]) -> Iterator[list[int]]:
    """Yield a descriptor that becomes readable when the process ends; none where there is none."""
    if not hasattr(os, "pidfd_open"):
        yield []
        return
    descriptor = os.pidfd_open(child.pid)
    try:
        yield [descriptor]
    finally:
        os.close(descriptor)


class EventLines:
    """Takes events out of what comes through the pipe; what is no event is passed over."""

    def __init__(self) -> None:
        self.rest = b""

    def of(self, chunk: bytes) -> Iterator[Mapping[str, Any]]:
        """Yield the events that a chunk completes."""
        *lines, self.rest = (self.rest + chunk).split(b"\n")
        self.rest = self.rest[-LONGEST_LINE:]
        for line in lines:
            event = event_from(line)
            if event is not None:
                yield event


def event_from(line: bytes) -> Mapping[str, Any] | None:
    """Return the event of a line: {"phase": text} and perhaps "done" and "total"; None for others."""
    if len(line) > LONGEST_LINE:
        return None
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not isinstance(found.get("phase"), str):
        return None
    counts = {name: found[name] for name in ("done", "total") if name in found}
    if counts and not (len(counts) == 2 and all(type(n) is int for n in counts.values())):  # noqa: PLR2004
        return None
    return {"phase": found["phase"], **counts}


class ForeignRecordError(Exception):
    """What a process left in the place of its record was not written by the harness."""


def read_record(folder: Path, key: str) -> Record | None:
    """Return the record that the worker signed, None without any; raises ForeignRecordError."""
    if not folder.is_dir():
        msg = "its working folder was removed while it ran"
        raise ForeignRecordError(msg)
    path = folder / "record.json"
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        msg = f"its process left a record that cannot be read ({error.strerror})"
        raise ForeignRecordError(msg) from None
    signature = b""
    with contextlib.suppress(OSError):
        signature = path.with_suffix(".sha256").read_bytes()
    expected = hmac.new(key.encode(), text, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected.encode(), signature):
        msg = "its process left a record that the harness did not write"
        raise ForeignRecordError(msg)
    return record_from_json(text.decode())


def last_output(folder: Path) -> str:
    """Return the end of what the process printed; empty where it removed that."""
    with contextlib.suppress(OSError), (folder / "output.log").open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(file.tell() - CHUNK, 0))
        return file.read().decode(errors="replace")
    return ""


def end(child: subprocess.Popen[bytes]) -> None:
    """End the worker and its process group, whether it has ended by itself or not."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
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
