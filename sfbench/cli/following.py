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
    *,
    state: Callable[[], str] = str,
    poll_seconds: float = POLL_SECONDS,
) -> Standing:
    """Tell of the records of a plan as they come, until all is measured, or nobody works any more.

    That everything has a record is no end where some failed: workers may try those again. `state`:
    what the engine says of its workers.
    """
    told = False
    while True:
        working = is_working()
        new = follower.look()
        standing = follower.standing()
        if not told and standing.begun:
            # What is there when the first worker has begun was there before.
            told, settled = True, len(standing.done)
            listener.planned((standing.total or 0) - settled, settled)
        else:
            for record in new:
                listener.arrived(record)
        settled_all = standing.total is not None and standing.is_over and not standing.failed
        if settled_all or not working:
            listener.clear()
            return standing
        listener.working(standing, state())
        time.sleep(poll_seconds)
