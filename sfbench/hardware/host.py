"""What the system says of the host: processors, memory, pressure, energy counters. No torch needed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import re
from pathlib import Path
from typing import Literal

PROC = Path("/proc")
MACHINE_IDS = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))


def cpu_model() -> str:
    """Return the processor's name, as the system gives it."""
    with contextlib.suppress(OSError):
        text = (PROC / "cpuinfo").read_text()
        match = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
        if match:
            return match[1].strip()
    return platform.processor() or platform.machine()


def instructions() -> frozenset[str]:
    """Return the processor's instruction sets by the system's names; none where it does not say."""
    with contextlib.suppress(OSError):
        text = (PROC / "cpuinfo").read_text()
        match = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", text, re.MULTILINE)
        if match:
            return frozenset(match[1].split())
    return frozenset()


def host_name_digest() -> str | None:
    """Return twelve digits that tell this installation of a system from others; None if unknown.

    The machine id is confidential (see machine-id(5)): only a salted hash of it leaves this function.
    """
    for path in MACHINE_IDS:
        with contextlib.suppress(OSError):
            text = path.read_text().strip()
            if text and text != "uninitialized":
                return hashlib.sha256(f"sfbench machine {text}".encode()).hexdigest()[:12]
    return None


def cpu_count() -> int:
    """Return the number of processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_quota() -> float | None:
    """Return the processors a control group grants, or None where nothing limits them."""
    with contextlib.suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    return None


def pressure() -> float | None:
    """Return the share of the last 10 s (percent) in which something waited for a processor."""
    with contextlib.suppress(OSError, AttributeError):
        text = (PROC / "pressure" / "cpu").read_text()
        match = re.search(r"some avg10=([\d.]+)", text)
        return None if match is None else float(match[1])
    return None


def package_joules() -> float | None:
    """Return the energy counters of the processor packages, added up; None if unreadable."""
    joules = 0.0
    found = False
    with contextlib.suppress(OSError, ValueError):
        for package in Path("/sys/class/powercap").glob("intel-rapl:?"):
            if not (package / "name").read_text().startswith("package"):
                continue  # psys holds the packages already
            joules += int((package / "energy_uj").read_text()) / 1e6
            found = True
    return joules if found else None


def available_bytes() -> int | None:
    """Return the memory available without swapping; None if the system does not report it."""
    with contextlib.suppress(OSError, AttributeError):
        text = (PROC / "meminfo").read_text()
        match = re.search(r"^MemAvailable:\s+(\d+) kB", text, re.MULTILINE)
        return None if match is None else int(match[1]) * 1024
    return None


def reset_host_peak() -> bool:
    """Reset the process's peak of resident memory; False if the system cannot."""
    try:
        (PROC / "self" / "clear_refs").write_text("5")
    except OSError:
        return False
    return True


def host_memory(field: Literal["VmHWM", "VmRSS", "VmData"]) -> int | None:
    """Return the process's peak (VmHWM) or present (VmRSS) resident bytes; None if unknown.

    VmData: private writable bytes, resident or not.
    """
    with contextlib.suppress(OSError):
        text = (PROC / "self" / "status").read_text()
        match = re.search(rf"^{field}:\s+(\d+) kB", text, re.MULTILINE)
        return None if match is None else int(match[1]) * 1024
    return None
