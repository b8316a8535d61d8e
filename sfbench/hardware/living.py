"""Whether a process that another machine, or this one, told of is gone. No torch needed."""

from __future__ import annotations

import contextlib
import functools
import os
import socket
from pathlib import Path

PROC = Path("/proc")
ENDED = {b"Z", b"X"}
"""States of processes that only their parents have not heard of."""


@functools.cache
def place() -> str | None:
    """Return what tells this start of a system, and its space of process numbers, from others.

    None where the system does not say.
    """
    boot = boot_id()
    with contextlib.suppress(OSError):
        return boot and f"{this_host()} {boot} {(PROC / 'self/ns/pid').readlink()}"
    return None


@functools.cache
def boot_id() -> str | None:
    """Return what tells this start of a system from others, the same in all its containers."""
    with contextlib.suppress(OSError):
        return (PROC / "sys/kernel/random/boot_id").read_text().strip()
    return None


def lock_scope() -> str:
    """Return a name for what shares this machine's devices: one start of a system, else its name."""
    return boot_id() or this_host()


def told_of(pid: int) -> tuple[bytes, str] | None:
    """Return a process's state, and when it began in the system's ticks; None if it is not told."""
    try:
        fields = (PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return fields[0], fields[19].decode()


def this_host() -> str:
    """Return this machine's name."""
    return socket.gethostname()


def this_process() -> str:
    """Return what `is_gone` has to know of this process; empty where the system does not say."""
    pid = os.getpid()
    mine = told_of(pid)
    return f"{place()} {pid} {mine[1]}" if place() and mine else ""


def is_gone(process: str) -> bool:
    """Return whether a process, as `this_process` named it, certainly ended.

    False of another machine, another space of process numbers, or anything else unknown.
    """
    where, _, began = process.rpartition(" ")
    where, _, pid = where.rpartition(" ")
    if not where or where != place() or not pid.isdecimal():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):  # another user's, which /proc may hide
        return False
    now = told_of(int(pid))
    return now is not None and (now[0] in ENDED or now[1] != began)
