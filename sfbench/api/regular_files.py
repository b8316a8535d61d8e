"""Files that end: a pipe or device where a file is expected would be waited for, or read for ever."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def check_regular(path: Path) -> os.stat_result:
    """Return what is known of a file or folder; raises OSError for a pipe, socket or device."""
    found = path.stat()
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        raise OSError(errno.EINVAL, "a pipe, socket or device; expected a file", str(path))
    return found
