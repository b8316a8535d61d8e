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
    """Tell of the records of a plan as they come, until nobody works any more.

    That everything has a record is no end: workers may try again what failed before.
    """
    told = False
    while True:
        working = is_working()
        new = follower.look()
        standing = follower.standing()
        if not told and standing.total is not None:
            # What is there when the first worker has begun was there before.
            told, settled = True, len(standing.done)
            listener.planned(standing.total - settled, settled)
        else:
            for record in new:
                listener.arrived(record)
        if not working:
            listener.clear()
            return standing
        listener.working(standing)
        time.sleep(poll_seconds)
