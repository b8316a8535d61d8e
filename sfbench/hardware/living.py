"""Whether a process that another machine, or this one, told of is gone. No torch needed."""

from __future__ import annotations

import contextlib
import functools
import os
import socket
from pathlib import Path

PROC = Path("/proc")


@functools.cache
def place() -> str | None:
    """Return what tells this start of a system, and its space of process numbers, from others.

    None where the system does not say.
    """
    with contextlib.suppress(OSError):
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {(PROC / 'self/ns/pid').readlink()}"
    return None


def born(pid: int) -> str | None:
    """Return when a process began, in the system's ticks; None for one that ended."""
    try:
        fields = (PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in {b"Z", b"X"} else fields[19].decode()


def this_host() -> str:
    """Return this machine's name."""
    return socket.gethostname()


def this_process() -> str:
    """Return what `is_gone` has to know of this process; empty where the system does not say."""
    pid = os.getpid()
    began = born(pid)
    return f"{place()} {pid} {began}" if place() and began else ""


def is_gone(process: str) -> bool:
    """Return whether a process, as `this_process` named it, certainly ended.

    False of another machine, another space of process numbers, or anything else unknown.
    """
    where, _, rest = process.rpartition(" ")
    where, _, pid = where.rpartition(" ")
    return bool(where) and where == place() and pid.isdecimal() and born(int(pid)) != rest
