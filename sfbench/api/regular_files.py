"""Files that end: a pipe or device where a file is expected would be waited for, or read for ever."""

from __future__ import annotations

import errno
import stat
from pathlib import Path


def check_regular(path: Path) -> None:
    """Raise OSError for a pipe, socket or device, or for what cannot be looked at."""
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.EINVAL, "a pipe, socket or device; expected a file", str(path))
