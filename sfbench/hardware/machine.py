"""Which machine this is, with which software: what two measurements must share. No torch needed."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Any

from sfbench.hardware.devices import accelerators
from sfbench.hardware.host import cpu_count, cpu_model

DISTRIBUTIONS = (
    "sfbench",
    "torch",
    "torchvision",
    "timm",
    "torch-fidelity",
    "clean-fid",
    "numpy",
    "scipy",
    "pillow",
    "safetensors",
    "pluggy",
)


def versions() -> dict[str, str | None]:
    """Return the versions of Python and of every package that can move a number."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in DISTRIBUTIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def machine_class() -> dict[str, Any]:
    """Return the hardware that two comparable measurements must share. No torch needed."""
    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "cpu": cpu_model(),
        "cpus": cpu_count(),
        "gpus": [[entry["name"], entry["driver"]] for entry in accelerators()],
        "versions": versions(),
    }
