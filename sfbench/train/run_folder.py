"""A run's folder: its settings (run.json), its newest and its best weights, each with a card.

run.json            the settings that decide the numbers, and their digest: the training identity
state-*             saved states, from which a run resumes
log.jsonl           one line per tick
pictures/           images from the same seeds at every snapshot
weights.safetensors EMA weights of the last snapshot, described by weights.json
best.safetensors    EMA weights of the snapshot with the least distance, see best.json
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sfbench.api.errors import DataError, UsageError
from sfbench.store.training_runs import RUN, read_asked
from sfbench.store.whole_file import write_whole
from sfbench.values.records import digest

LATEST, BEST = "weights", "best"
LENGTH = ("kimg", "processes")
"""Settings that a resumed run may change: they affect no completed step."""


def begin(folder: Path, asked: Mapping[str, Any], *, resume: bool) -> dict[str, Any]:
    """Write run.json, or check that the existing run has the same settings; return it.

    Raises UsageError for a folder in use, or for a run that differs, naming the differences.
    """
    document = {"identity": identity(asked), "asked": dict(asked)}
    there = read_asked(folder)
    if there is None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_whole(folder / RUN, json.dumps(document, indent=1), durable=True)
        except OSError as error:
            msg = f"--out {folder}: cannot be written ({error.strerror})"
            raise DataError(msg) from None
        return document
    if not resume:
        msg = f"--out {folder}: holds a run; add --resume to continue it, or choose another folder"
        raise UsageError(msg)
    if there["identity"] != document["identity"]:
        lines = differences(there["asked"], asked)
        msg = f"--out {folder}: holds a different run: {'; '.join(lines)}"
        raise UsageError(msg)
    write_whole(folder / RUN, json.dumps(document, indent=1), durable=True)
    return document


def identity(asked: Mapping[str, Any]) -> str:
    """Return the digest of the settings that decide a run's numbers."""
    return digest({name: asked[name] for name in asked if name not in LENGTH})


def differences(there: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """Return the differences between two runs, a few words each."""
    if there.get("model") != asked.get("model"):
        return [f"it is of {there.get('model')}, {asked.get('model')} was requested"]
    found = []
    for name in sorted({*there, *asked} - set(LENGTH)):
        old, new = there.get(name), asked.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += [
                f"{name} {key} is {old.get(key)} there, {new.get(key)} requested"
                for key in sorted({*old, *new})
                if old.get(key) != new.get(key)
            ]
        elif old != new:
            found.append(f"{name} is {old} there, {new} requested")
    return found
