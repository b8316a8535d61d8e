"""Paths and pairs as people write them on a command line: "~", and names before "=" ."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from sfbench.api.errors import UsageError, printable


def path_of(text: str) -> Path:
    """Return the path that a text means; "~" is the home, also where no shell has expanded it."""
    try:
        return Path(text).expanduser()
    except RuntimeError:  # the home of nobody: a name that begins with "~"
        return Path(text)


def shown_name(path: str) -> str:
    """Return what records call a file or folder: its own name, without where it is."""
    name = Path(os.path.abspath(path)).name  # noqa: PTH100  # also of "." and "..", links as they are
    return printable(name.encode("utf-8", "backslashreplace").decode("utf-8"))


def model_names(text: str) -> list[str]:
    """Return the models of NAME[,NAME]...: names, and references KIND:PATH, which may hold commas.

    What exists as a path is one: `onnx:a,b.onnx` is the file "a,b.onnx" where there is such a file.
    """
    parts, found = text.split(","), []
    while parts:
        kind, colon, _ = parts[0].partition(":")
        joined = [",".join(parts[:count]) for count in range(len(parts), 1, -1)] if colon else []
        there = (one for one in joined if path_of(one.removeprefix(f"{kind}:")).exists())
        name = next(there, parts[0])
        found.append(name)
        parts = parts[name.count(",") + 1 :]
    return found


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
