"""Which machine this is, with which software: what two measurements must share. No torch needed."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from importlib import metadata
from typing import Any

from sfbench.hardware.devices import accelerators
from sfbench.hardware.host import cpu_model, host_name_digest
from sfbench.hardware.places import Place

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


def processors(facts: Mapping[str, Any]) -> str:
    """Return the processors of a machine's facts in a few words; empty where they are unknown."""
    name, count = facts.get("cpu"), facts.get("cpus")
    if not name:
        return ""
    return f"{name}, {count} CPU{'' if count == 1 else 's'}" if count else str(name)


def machine_class(place: Place | None = None) -> dict[str, Any]:
    """Return the hardware that two comparable measurements must share. No torch needed.

    `place`: where it is measured. Of accelerators, the model of that one counts, of others which
    models there are. How many of its GPUs and processors a scheduler shows is no difference: the
    number of threads is a part of each case. `host` tells two machines of the same kind apart.
    """
    gpus = {(str(entry["name"]), str(entry["driver"])) for entry in accelerators()}
    if place is not None and place.driver is not None:
        gpus = {(place.name, place.driver)}
    return {
        "host": host_name_digest(),
        "system": platform.system(),
        "machine": platform.machine(),
        "cpu": cpu_model(),
        "cpus": os.cpu_count(),
        "gpus": [list(pair) for pair in sorted(gpus)],
        "versions": versions(),
    }
