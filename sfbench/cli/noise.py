"""This machine's noise floor, as measured by `sfbench doctor --aa`, in the user's cache."""

from __future__ import annotations

import json
from pathlib import Path

from sfbench.cli import defaults
from sfbench.store.whole_file import write_whole
from sfbench.values.documents import read_document


def place(machine: str, where: str) -> Path:
    """Return the file of a machine's noise on its device "cpu" or "cuda"."""
    return defaults.user_cache() / "sfbench" / f"noise-{machine}-{where}.json"


def known(machine: str, where: str) -> float | None:
    """Return the standard deviation of one A/A quad's log ratio; None if not measured."""
    try:
        return read_document(place(machine, where).read_bytes(), dict[str, float])["quad"]
    except (OSError, ValueError, KeyError):
        return None


def keep(machine: str, where: str, quad: float, quads: int) -> Path:
    """Keep the noise and return its file."""
    path = place(machine, where)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps({"quad": quad, "quads": quads}))
    return path
