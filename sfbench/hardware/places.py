"""Where on a machine a trial runs: one device of its kind, and the processors and memory near it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import platform
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from sfbench.values.job import Placement

DEVICES = Path("/sys/bus/pci/devices")
SET_MEMPOLICY = {"x86_64": 238, "aarch64": 237}
"""Numbers of the system call; libnuma is not everywhere."""
PREFERRED = 1


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One device of this machine: `index` among those that may be used, as `--device KIND:INDEX`.

    `shown`: what the kind's variable of visible devices has to hold for a process that sees this
    one alone; None where there is one device, or no such variable. `unique`: the device's own name
    (UUID), by which it is locked. `driver`: an accelerator's. `processors` and `memory_node`: those
    near it, if not all are.
    """

    kind: str
    index: int
    name: str
    unique: str
    driver: str | None = None
    shown: str | None = None
    processors: tuple[int, ...] = ()
    memory_node: int | None = None


def near(pci: str) -> tuple[tuple[int, ...], int | None]:
    """Return the processors near a PCI device that this process may use, and its memory node.

    Nothing where the system does not say, or where all of the machine's are near. `pci`: its
    address, e.g. "0000:3b:00.0".
    """
    folder = DEVICES / pci.lower()[-12:]
    with contextlib.suppress(OSError, ValueError):
        node = int((folder / "numa_node").read_text())
        local = set(numbers_of((folder / "local_cpulist").read_text()))
        allowed = os.sched_getaffinity(0)
        if node >= 0 and local & allowed and len(local) < (os.cpu_count() or 1):
            return tuple(sorted(local & allowed)), node
    return (), None


def numbers_of(text: str) -> list[int]:
    """Return the numbers of a list as the system writes it: "0-3,8"."""
    found: list[int] = []
    for part in filter(None, re.split(r"[,\s]+", text)):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def list_of(numbers: Sequence[int]) -> str:
    """Return numbers as the system writes them: "0-3,8"."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in parts)


def settle(placement: Placement) -> None:
    """Keep this process, and what it starts, on the placement's processors and near its memory."""
    if placement.processors and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, placement.processors)
    call = SET_MEMPOLICY.get(platform.machine())
    if placement.memory_node is not None and sys.platform == "linux" and call is not None:
        import ctypes  # slow; few trials need it

        node = placement.memory_node
        mask = (ctypes.c_ulong * (node // 64 + 1))()
        mask[node // 64] = 1 << node % 64
        ctypes.CDLL(None, use_errno=True).syscall(call, PREFERRED, mask, 64 * len(mask) + 1)


def told(placement: Placement) -> dict[str, object] | None:
    """Return to which processors and memory this process keeps; None where it may use all."""
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if placement.memory_node is None and len(allowed) in {0, os.cpu_count()}:
        return None
    return {"cpus": list_of(allowed), "memory_node": placement.memory_node}
