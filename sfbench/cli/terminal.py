"""The terminal that commands print to."""

from __future__ import annotations

import sys

from rich.console import Console

NARROW = 80


def console() -> Console:
    """Return a console of the terminal's width, or 80 columns without one."""
    return Console(width=None if sys.stdout.isatty() else NARROW, highlight=False)
