"""The command of one worker, which every engine starts."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path


def worker_command(
    plan: Path, store: Path, device: str, *, trusted: bool, share: Sequence[str] = ()
) -> list[str]:
    """Return the command line of a worker, by this installation's Python; `share`: more flags."""
    # -P: nothing in the current folder may stand in for a module, another sfbench least of all.
    command = [sys.executable, "-P", "-m", "sfbench", "work", "--plan", str(plan.absolute())]
    command += ["--store", str(store.absolute()), "--device", device, *share]
    return [*command, "--trust"] if trusted else command
