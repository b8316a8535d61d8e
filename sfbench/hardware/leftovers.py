"""What a process of foreign code may leave behind, and its end: processes, temporary folders."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

MARK = "SFBENCH_TRIAL"
"""Environment variable that every process of a trial, or of a listing, inherits."""
PARENT = "SFBENCH_PARENT"
"""Environment variable with the number of a process without which this one has to end."""
PREFIX, LOCK = "sfbench-trial-", ".lock"
ROUNDS = 5
PR_SET_PDEATHSIG = 1


@contextlib.contextmanager
def child_folder() -> Iterator[Path]:
    """Make a temporary folder for a child process; remove it afterwards, and those of killed runs.

    A lock in it says that its owner lives; it is gone with the owner, however that ended. Until it
    is locked the folder has another name, under which no other process looks for abandoned ones.
    """
    sweep()
    new = Path(tempfile.mkdtemp(prefix=f".{PREFIX}"))
    with (new / LOCK).open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder = new.rename(new.with_name(new.name.removeprefix(".")))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def sweep() -> None:
    """End what is left of children whose owner is gone: their processes and folders."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError), (folder / LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            end_all(str(folder))
            shutil.rmtree(folder, ignore_errors=True)


def end_with(parent: int) -> None:
    """Have the system end this process with its parent, however that ends; Linux alone can.

    A parent that was gone before is not seen by the system: then this process ends at once.
    """
    if sys.platform == "linux":
        import ctypes  # slow; children alone need it

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def leave() -> NoReturn:
    """End this process now that its answer is written, whatever threads foreign code still runs."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # foreign code may have closed or replaced it
            stream.flush()
    os._exit(0)


def end_all(mark: str) -> None:
    """Kill every process that bears the mark, in whatever session it hides; Linux alone can tell."""
    wanted = f"{MARK}={mark}".encode()
    for _ in range(ROUNDS):
        found = list(marked(wanted))
        if not found:
            return
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def marked(entry: bytes) -> Iterator[int]:
    """Yield the other processes whose environment holds an entry."""
    for folder in Path("/proc").glob("[0-9]*"):
        pid = int(folder.name)
        if pid == os.getpid():
            continue
        with contextlib.suppress(OSError):
            ended = (folder / "stat").read_bytes().rpartition(b")")[2].split()[:1] == [b"Z"]
            if not ended and entry in (folder / "environ").read_bytes().split(b"\0"):
                yield pid
