"""How a trial was made: machine, versions, policy, environment, commit, training of its weights."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from sfbench import device
from sfbench.job import Job


def provenance(job: Job) -> dict[str, Any]:
    """Return how the trial was made: machine, versions, policy, environment."""
    return {
        "machine": device.machine_class(),
        "gpu": device.current_gpu() if job.case.device == "cuda" else None,
        "gpus": device.gpus() if job.case.device == "cuda" else [],
        "cpu_quota": device.cpu_quota(),
        "cpu_pressure_percent": device.pressure(),
        "flags": device.global_flags(),
        "environment": dict(job.environment),
        "commit": job.commit,
        "compiler_caches": "the user's own" if job.caches is None else "private, empty at first",
    }


def training_of(weights: str | None) -> dict[str, Any] | None:
    """Return how weights were trained, where a card lies beside them: identity, kimg, quality."""
    card = None if weights is None else Path(weights).with_suffix(".json")
    if card is None or not card.is_file():
        return None
    with contextlib.suppress(ValueError, OSError):
        found = json.loads(card.read_text(encoding="utf-8"))
        if isinstance(found, dict) and "identity" in found:
            return found
    return None
