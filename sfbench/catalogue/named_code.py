"""Functions and classes named as package.module:name: found and digested without importing them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import PathFinder
from pathlib import Path

from sfbench.api.errors import UsageError
from sfbench.catalogue.reach import SourceTree, tree_around, versions_of
from sfbench.values.records import digest


def code_digest(text: str, folder: Path) -> str:
    """Return the digest of a named function or class: its name, what it can reach, its packages.

    Modules are looked for in `folder` first, then where Python looks; what it imports from there
    counts, too. Raises UsageError for a module that does not exist or has no source.
    """
    name = text.partition(":")[0]
    tree = tree_around({name: located(name, folder)})
    beside = {one.stem: one for one in folder.glob("*.py")}
    beside |= {one.parent.name: one.parent for one in folder.glob("*/*.py")}
    reach = SourceTree(beside | tree.roots).reach([name])
    return digest([text, reach.digest, versions_of(reach.packages)])


def located(name: str, folder: Path) -> Path:
    """Return the source file of a module; parent packages are looked into, not imported."""
    places: Sequence[str] | None = [str(folder), *sys.path]
    origin = None
    for depth in range(name.count(".") + 1):
        part = ".".join(name.split(".")[: depth + 1])
        spec = PathFinder.find_spec(part, places)
        if spec is None:
            msg = f"{name}: no module {part}; install its package, or go to its folder"
            raise UsageError(msg)
        origin, places = spec.origin, spec.submodule_search_locations or []
    if origin is None or not origin.endswith(".py"):
        msg = f"{name}: a module without Python source, whose changes could not be noticed"
        raise UsageError(msg)
    return Path(origin)
