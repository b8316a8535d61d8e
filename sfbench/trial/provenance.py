"""How a trial was made: machine, versions, policy, environment, commit, training of its weights."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from sfbench.hardware import host, machine
from sfbench.hardware.devices import accelerators, find_backend, places
from sfbench.hardware.places import told
from sfbench.hardware.policy import global_flags
from sfbench.values.documents import read_document
from sfbench.values.job import Job


def provenance(job: Job) -> dict[str, Any]:
    """Return how the trial was made: machine, versions, policy, environment."""
    gpu = find_backend(job.case.device).identity()
    return {
        "machine": machine.machine_class(places(job.case.device)[0]),
        "placement": told(job.placement),
        "gpu": gpu,
        "gpus": [] if gpu is None else accelerators(),
        "cpu_quota": host.cpu_quota(),
        "cpu_pressure_percent": host.pressure(),
        "flags": global_flags(),
        "environment": dict(job.environment),
        "commit": job.commit,
        "compiler_caches": "the user's own" if job.caches is None else "private, empty at first",
    }


def training_of(weights: str | None) -> dict[str, Any] | None:
    """Return how weights were trained, if a card is beside them: identity, kimg, quality."""
    card = None if weights is None else Path(weights).with_suffix(".json")
    if card is None or not card.is_file():
        return None
    with contextlib.suppress(ValueError, OSError):
        found = read_document(card.read_bytes(), dict[str, Any])
        if "identity" in found:
            return found
    return None
