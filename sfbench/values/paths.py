"""Paths and pairs as people write them on a command line: "~", and names before "=" ."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from sfbench.api.errors import UsageError


def path_of(text: str) -> Path:
    """Return the path that a text means; "~" is the home, also where no shell has expanded it."""
    return Path(text).expanduser()


def pairs_of(text: str, names: Iterable[str | None], flag: str) -> dict[str, str] | None:
    """Return the values of NAME=VALUE[,NAME=VALUE]; None where the text is one value for all.

    Only known names begin a pair, so that values may hold "=" and ",". What exists as a path is
    one. Raises UsageError for a name that is given twice.
    """
    known = sorted((name for name in names if name), key=len, reverse=True)
    if not known or path_of(text).exists():
        return None
    start = re.compile(rf"(?:^|,)({'|'.join(map(re.escape, known))})=")
    found = list(start.finditer(text))
    if not found or found[0].start() != 0:
        return None
    ends = [*(one.start() for one in found[1:]), len(text)]
    pairs: dict[str, str] = {}
    for one, end in zip(found, ends, strict=True):
        if one[1] in pairs:
            msg = f"{flag} {text}: {one[1]} is given twice; expected one path for each name"
            raise UsageError(msg)
        pairs[one[1]] = text[one.end() : end]
    return pairs
