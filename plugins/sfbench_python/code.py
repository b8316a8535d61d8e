"""Classes and functions by name, from the folder of the command or where Python looks."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from sfbench.api import BuildRequest, UsageError
from sfbench.api.errors import first_line


def named(request: BuildRequest, option: str) -> Any:
    """Return what an option names as package.module:name; raises UsageError if it is not there."""
    text = str(request.options[option])
    module, _, path = text.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module)
        for name in path.split("."):
            found = getattr(found, name)
    except (ImportError, AttributeError) as error:
        msg = f"{text}: cannot be imported ({first_line(error)})"
        raise UsageError(msg) from None
    return found
