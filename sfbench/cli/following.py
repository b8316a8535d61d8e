"""Follows workers through their store: the usual lines of a run, whoever measures."""

from __future__ import annotations

import time
from collections.abc import Callable

from sfbench.cli.progress import ProgressLines
from sfbench.run.standing import Follower, Standing

POLL_SECONDS = 2.0


def follow(
    follower: Follower,
    listener: ProgressLines,
    is_working: Callable[[], bool],
    poll_seconds: float = POLL_SECONDS,
) -> Standing:
    """Tell of the records of a plan as they come, until all are there or nobody works any more."""
    follower.look()
    standing = follower.standing()
    settled = len(standing.done)
    listener.planned(follower.total() - settled, settled)
    while True:
        working = is_working()
        for record in follower.look():
            listener.arrived(record)
        standing = follower.standing()
        if standing.is_over or not working:
            listener.clear()
            return standing
        listener.working(standing)
        time.sleep(poll_seconds)
