"""Classes and functions by name, from the folder of the command or where Python looks."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from sfbench.api import BuildRequest, UsageError
from sfbench.api.errors import first_line


def check_own(found: Any, here: Path, name: str) -> None:
    """Raise UsageError for a module that another one of the same name hides."""
    base = here.joinpath(*name.split("."))
    own = [file for file in (base.with_suffix(".py"), base / "__init__.py") if file.is_file()]
    there = getattr(found, "__file__", None)
    if own and (there is None or not Path(there).samefile(own[0])):
        msg = f"{own[0]}: hidden by {there or 'a built-in module'} of the same name; rename yours"
        raise UsageError(msg)


def named(request: BuildRequest, option: str) -> Any:
    """Return what an option names as package.module:name; raises UsageError if it is not there."""
    text = str(request.options[option])
    module, _, path = text.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module)
        check_own(found, Path(here), module)
        for name in path.split("."):
            found = getattr(found, name)
    except (ImportError, AttributeError) as error:
        msg = f"{text}: cannot be imported ({first_line(error)})"
        raise UsageError(msg) from None
    return found
