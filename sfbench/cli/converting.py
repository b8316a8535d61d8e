"""Behind `sfbench convert`: the plugin that knows the file rewrites it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sfbench.api.errors import WeightsError
from sfbench.cli import defaults
from sfbench.generators.loading import load_plugins

WEIGHTS = ".safetensors"
GRAPHS = (".onnx", ".pt2")


def check_target(target: Path) -> None:
    """Raise WeightsError for a file that exists, or whose name or folder is not one to write to."""
    if target.suffix not in {WEIGHTS, *GRAPHS}:
        msg = f"{target}: expected a file name that ends in {', '.join((WEIGHTS, *GRAPHS))}"
        raise WeightsError(msg)
    if target.exists():
        msg = f"{target}: already exists; delete it or choose another name"
        raise WeightsError(msg)
    if not target.parent.is_dir():
        msg = f"{target}: folder {target.parent} does not exist"
        raise WeightsError(msg)


def convert(source: Path, target: Path, given: Sequence[str]) -> str:
    """Return a description of what was written; raises WeightsError for an unknown format."""
    if not source.is_file():
        what = "no such file"
        if source.exists():
            kind = "a folder" if source.is_dir() else "a pipe, socket or device"
            what = f"{kind}; expected a file"
        msg = f"{source}: {what}"
        raise WeightsError(msg)
    check_target(target)
    refusals = []
    able = defaults.catalogue(given, []).acting("sfbench_convert")
    for plugin in load_plugins(able, given, [])[0]:
        try:
            found = plugin.convert(source=source, target=target) if plugin.convert else None
        except WeightsError as error:
            # Another plugin may know a kind of file that this one cannot read.
            refusals.append(error)
            continue
        if found:
            return f"{target}: {found}, {target.stat().st_size:,} bytes"
    if refusals:
        raise refusals[0]
    msg = f"{source}: no plugin recognizes this file format"
    raise WeightsError(msg)
