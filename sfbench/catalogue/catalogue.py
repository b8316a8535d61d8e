"""Installed plugins as plain data, read in a child process: no plugin runs in the parent.

The answer is kept in a cache file and is valid while every file it was read from is unchanged.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, TypedDict

from sfbench import __version__
from sfbench.api.errors import PluginError, UsageError
from sfbench.api.spec import Option
from sfbench.catalogue.stamps import unchanged
from sfbench.store.whole_file import write_whole
from sfbench.values.documents import DocumentError, as_document, read_document
from sfbench.values.records import digest

SHOWN = 2
"""Most broken plugins whose reason is in an error."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One model as listed: what its GeneratorSpec says, and the plugin it comes from."""

    name: str
    plugin: str
    summary: str
    resolutions: tuple[int, ...]
    options: tuple[Option, ...]
    license: str
    citation: str
    synthesizes: bool
    trainable: bool
    settings: tuple[Option, ...]
    presets: tuple[Mapping[str, Any], ...]
    code_sha256: str
    packages: tuple[str, ...]

    def resolve(self, given: Mapping[str, str]) -> dict[str, Any]:
        """Return every option's value; raises UsageError for an unknown name or bad value."""
        known = {option.name: option for option in self.options}
        for name in given:
            if name not in known:
                there = ", ".join(known) or "none"
                msg = f"model {self.name} has no option {name}; it has {there}"
                raise UsageError(msg)
        return {
            name: option.parse(given[name]) if name in given else option.default
            for name, option in known.items()
        }


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PluginEntry:
    """One plugin as listed; `problem` says why a broken one offers nothing.

    `hooks`: those for converting and exporting that it implements.
    """

    name: str
    origin: str
    problem: str | None
    models: tuple[str, ...]
    extractors: tuple[str, ...]
    hooks: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """Models, plugins (broken ones too), checkpoint cards and feature extractors."""

    models: tuple[Model, ...]
    plugins: tuple[PluginEntry, ...]
    checkpoints: tuple[Mapping[str, Any], ...]
    extractors: tuple[Mapping[str, Any], ...]

    def model(self, name: str) -> Model:
        """Return the model; raises PluginError when no plugin or several plugins offer the name."""
        found = [model for model in self.models if model.name == name]
        if len(found) == 1:
            return found[0]
        if found:
            owners = " and ".join(model.plugin for model in found)
            msg = f"model {name} is offered by plugins {owners}; disable one with --no-plugin"
            raise PluginError(msg)
        names = ", ".join(sorted({model.name for model in self.models})) or "none"
        broken = [f"{entry.name}: {entry.problem}" for entry in self.plugins if entry.problem]
        more = f"; and {len(broken) - SHOWN} more" if len(broken) > SHOWN else ""
        told = f"{'; '.join(broken[:SHOWN])}{more}; see sfbench plugins"
        hint = f" (broken plugins: {told})" if broken else ""
        msg = f"model {name}: not found; available: {names}{hint}"
        raise UsageError(msg) if not broken else PluginError(msg)

    def owners(self, model: str | None, extractor: str | None = None) -> set[str]:
        """Return the names of the plugins that a model and an extractor come from."""
        base = (extractor or "").partition(":")[0]
        found = {str(entry["plugin"]) for entry in self.extractors if entry["name"] == base}
        return found | ({self.model(model).plugin} if model else set())

    def acting(self, hook: str) -> set[str]:
        """Return the names of the plugins that implement a hook for converting or exporting."""
        return {entry.name for entry in self.plugins if hook in entry.hooks}


def read_catalogue(given: Sequence[str], disabled: Sequence[str], cache: Path) -> Catalogue:
    """Return the catalogue, from the cache file while that is valid."""
    # The key includes the code and its location: one interpreter may run several copies, and an
    # answer by other code may lack required entries.
    names = ("asking.py", "catalogue.py", "discovery.py", "registry.py")
    own = [Path(__file__).with_name(name).read_text() for name in names]
    place = [__version__, __file__, sys.executable]
    key = digest([place, own, list(given), sorted(disabled), entry_points()])
    file = cache / f"catalogue-{key[:16]}.json"
    kept = fresh(file)
    if kept is not None:
        return kept
    from sfbench.catalogue.asking import ask  # pluggy comes with it

    document = ask(given, disabled, cache / "plugins-that-crash.json")
    if document["lasting"]:
        keep(file, document)
    return as_document(document, Catalogue)


def entry_points() -> list[list[str]]:
    """Return every installed entry point of the group "sfbench", with its distribution's version."""
    points = metadata.entry_points(group="sfbench")
    return sorted(
        [point.name, point.value, point.dist.version if point.dist else ""] for point in points
    )


class Files(TypedDict):
    """The files that an answer was read from, with their stamps."""

    files: dict[str, list[int]]


def fresh(file: Path) -> Catalogue | None:
    """Return the cached answer if every file it was read from is as it was then.

    A damaged cache counts as none: it is made again.
    """
    try:
        text = file.read_bytes()
        files = read_document(text, Files)["files"]
        if not unchanged(files):
            return None
        return read_document(text, Catalogue)
    except (OSError, DocumentError):
        return None


def keep(file: Path, document: Mapping[str, Any]) -> None:
    """Write the cache file; a read-only home only costs speed."""
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, json.dumps(document))
