"""Locks of a host's devices: what is timed has its device to itself; what is not may share it.

The system takes a lock back when its process ends, however that ends. Locks are in the store's folder
of the host, so they hold for all who measure into one store.
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from sfbench.api.errors import DataError


@contextlib.contextmanager
def device_lock(store: Path, host: str, device: str, *, alone: bool) -> Iterator[bool]:
    """Hold a device until the end of the block; yield whether it could be had at once.

    `alone`: nobody else may hold it at the same time. Raises DataError where the store's file
    system has no locks.
    """
    path = store / "hosts" / host / f"{device.replace('/', '_')}.lock"
    with contextlib.ExitStack() as held:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = held.enter_context(path.open("a+b"))
            fcntl.flock(file, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
            free = True
        except BlockingIOError:
            free = False
        except OSError as error:
            msg = (
                f"{path}: cannot be locked ({error.strerror}); a store needs a file system with "
                "locks, and who shares it write permission in all its folders (umask 002)"
            )
            raise DataError(msg) from None
        yield free
