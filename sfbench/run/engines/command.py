"""The command of one worker, which every engine starts."""

from __future__ import annotations

import sys
from pathlib import Path


def worker_command(plan: Path, store: Path, device: str, *, trusted: bool) -> list[str]:
    """Return the command line of a worker, by this installation's Python."""
    # -P: nothing in the current folder may stand in for a module, another sfbench least of all.
    command = [sys.executable, "-P", "-m", "sfbench", "work", "--plan", str(plan.absolute())]
    command += ["--store", str(store.absolute()), "--device", device]
    return [*command, "--trust"] if trusted else command
