"""Slurm: workers as the tasks of a job array. The script is what is submitted, and can be read."""

from __future__ import annotations

import collections
import contextlib
import re
import shlex
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from sfbench.api.errors import DataError, SfbenchError, UsageError, first_line
from sfbench.store.whole_file import write_whole

SCRIPT = """\
#!/bin/bash
# {title}
{flags}
# One worker a task: it claims trials in the store, and ends when nothing is left. A task that is
# stopped or requeued goes on with the next trial that nobody has measured.
cd {folder}
exec {command}
"""
SHARED = frozenset({"exclusive", "oversubscribe", "share"})
"""Flags by which users decide themselves whether a node is shared."""
OWN = {"array": "; see --workers", "output": "", "wrap": "", "requeue": "", "open-mode": ""}
"""Flags of sbatch that users cannot set, and what does it instead."""
NAMED = re.compile(r"[a-z][a-z0-9-]*")
SECONDS = 60
GONE = 2
WATCH_SECONDS = 5.0
FORGOTTEN = "Invalid job id"
"""What Slurm says of a job that ended some time ago."""


class SlurmError(SfbenchError):
    """Slurm refused, or is not here; says so in its own words."""


def flags_of(given: Sequence[str]) -> dict[str, str | None]:
    """Return the flags of sbatch that "KEY=VALUE" or "KEY" name; raises UsageError for others."""
    found: dict[str, str | None] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if name in OWN:
            msg = f"--slurm {text}: sfbench sets {name} itself{OWN[name]}"
            raise UsageError(msg)
        if name in found:
            msg = f"--slurm {name}: given twice"
            raise UsageError(msg)
        if not NAMED.fullmatch(name) or (equals and not value.strip()) or not value.isprintable():
            msg = f"--slurm {text!r}: expected a flag of sbatch, KEY=VALUE or KEY, e.g. gres=gpu:1"
            raise UsageError(msg)
        found[name] = value if equals else None
    return found


def script(
    *,
    name: str,
    title: str,
    command: Sequence[str],
    folder: str,
    logs: Path,
    workers: int,
    given: Sequence[str],
    alone: bool,
) -> str:
    """Return the script of a job array of so many workers.

    `given`: flags of the user, which go before these. `alone`: what is timed has its node to
    itself, unless the user decides about that.
    """
    own: dict[str, str | None] = {
        "job-name": f"sfbench-{name}",
        "array": f"0-{workers - 1}",
        "output": '"' + str(logs).replace("%", "%%") + '/%A_%a.log"',
        "open-mode": "append",
        "requeue": None,
    }
    users = flags_of(given)
    if not str(logs).isprintable() or '"' in str(logs):
        msg = f"--store {str(logs.parents[1])!r}: a path that Slurm cannot take"
        raise UsageError(msg)
    if alone and not SHARED & users.keys():
        own["exclusive"] = None
    if users.get("exclusive") in {"no", "0", "false"}:
        del users["exclusive"]
    lines = [
        f"#SBATCH --{key}" + (f"={value}" if value is not None else "")
        for key, value in {**own, **users}.items()
    ]
    return SCRIPT.format(
        title=" ".join(title.split()),
        flags="\n".join(lines),
        folder=shlex.quote(folder),
        command=shlex.join(command),
    )


def submit(text: str, path: Path, job_file: Path) -> str:
    """Submit a script, which is kept at `path`; return the job's number, kept in `job_file`.

    Raises SlurmError in one line, with Slurm's own words.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text)
    except OSError as error:
        msg = f"{error.filename or path}: cannot be written ({error.strerror or error})"
        raise DataError(msg) from None
    answer = asked("sbatch", "--parsable", str(path))
    job = answer.partition(";")[0].strip()
    if not job.isdecimal():
        msg = f"sbatch did not say the job's number, but {answer!r}"
        raise SlurmError(msg)
    write_whole(job_file, job)
    return job


def running(job_file: Path) -> str | None:
    """Return the number of the job in a file if Slurm still has it waiting or running.

    Raises SlurmError where Slurm does not say.
    """
    try:
        job = job_file.read_text(encoding="utf-8").strip()
    except OSError:
        return None
    if not job.isdecimal():
        return None
    try:
        return job if asked("squeue", "--noheader", "--jobs", job, "--format=%T").strip() else None
    except SlurmError as error:
        if FORGOTTEN in str(error):
            return None
        raise


class Watched:
    """Whether a job is still there; Slurm is asked now and then, however often this is called.

    A job that is put back in the queue is nowhere for a moment: it is gone when Slurm has not known it
    twice in a row.
    """

    def __init__(self, job_file: Path, seconds: float = WATCH_SECONDS) -> None:
        self.job_file = job_file
        self.seconds = seconds
        self.next = 0.0
        self.misses = 0
        self.state = ""

    def __call__(self) -> bool:
        """Return whether it was there when Slurm was asked last, or before that."""
        if time.monotonic() >= self.next:
            self.next = time.monotonic() + self.seconds
            with contextlib.suppress(SlurmError):  # it may be restarted: the job is not gone
                job = running(self.job_file)
                self.misses = 0 if job is not None else self.misses + 1
                self.state = "" if job is None else told(job)
        return self.misses < GONE


def told(job: str) -> str:
    """Return what Slurm says of a job's tasks: how many are in which state, and why."""
    lines = asked("squeue", "--noheader", "--array", "--jobs", job, "--format=%T|%r").splitlines()
    counts = collections.Counter(line.strip() for line in lines if line.strip())
    parts = []
    for line, count in counts.most_common():
        state, _, reason = line.partition("|")
        why = f" ({reason})" if reason not in {"", "None"} else ""
        parts.append(f"{count} {state.lower()}{why}")
    return f"job {job}: {', '.join(parts)}"


def asked(*command: str) -> str:
    """Return what a command of Slurm prints; raises SlurmError with what it complains of."""
    try:
        done = subprocess.run(  # noqa: S603  # a command of Slurm, with words of our own
            command, capture_output=True, text=True, check=False, timeout=SECONDS
        )
    except FileNotFoundError:
        msg = f"{command[0]}: not found; --on slurm runs where Slurm's commands are"
        raise SlurmError(msg) from None
    except subprocess.TimeoutExpired:
        msg = f"{command[0]}: no answer within {SECONDS} s"
        raise SlurmError(msg) from None
    if done.returncode:
        words = first_line(RuntimeError(" ".join((done.stderr or done.stdout).split())))
        msg = f"{command[0]}: {words.removeprefix(f'{command[0]}: ').removeprefix('error: ')}"
        raise SlurmError(msg)
    return done.stdout
