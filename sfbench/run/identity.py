"""What must be equal for a stored trial to count as this one: case, code, machine, protocol."""

from __future__ import annotations

import functools
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sfbench.plan import Case
from sfbench.records import PROTOCOL, digest
from sfbench.registry import code_digest

MEASURING_CODE = (
    "sfbench.api",
    "sfbench.building",
    "sfbench.contract",
    "sfbench.cuda",
    "sfbench.data",
    "sfbench.device",
    "sfbench.execution",
    "sfbench.pixels",
    "sfbench.provenance",
    "sfbench.quality",
    "sfbench.speed",
    "sfbench.trial",
    "sfbench.worker",
)


def measuring_code() -> str:
    """Return the digest of the source that measures."""
    return code_digest(MEASURING_CODE)


def identity(case: Case, model_code: str, measuring: str, machine: Mapping[str, Any]) -> str:
    """Return the digest that a trial is found again by."""
    return digest([case.key(), model_code, measuring, dict(machine), PROTOCOL])


@functools.cache
def commit() -> str | None:
    """Return the commit of the checkout that this program runs from, with a + where it was changed.

    None for an installed copy: the repository that a virtual environment lies in is not its own.
    """
    here = Path(__file__).parent
    if git(here, "ls-files", "--error-unmatch", Path(__file__).name) is None:
        return None
    head = git(here, "rev-parse", "--short=12", "HEAD")
    changed = git(here, "status", "--porcelain", "--untracked-files=no")
    return f"{head}+" if head and changed else head


def git(folder: Path, *words: str) -> str | None:
    """Return what git prints, or None where it fails or is not there."""
    try:
        done = subprocess.run(  # noqa: S603  # words of our own
            ["git", "-C", str(folder), *words],  # noqa: S607  # whichever git the user has
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
