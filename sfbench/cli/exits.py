"""Exit codes, as the measuring protocol defines them."""

from __future__ import annotations

import enum


class Exit(enum.IntEnum):
    """What the exit status says."""

    OK = 0
    SOME_FAILED = 1
    USAGE = 2
    INTERNAL = 3
    REGRESSION = 4
    NOTHING_MEASURED = 5
    INCONCLUSIVE = 6
    PLUGIN = 7
    INTERRUPTED = 130
