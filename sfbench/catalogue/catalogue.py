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
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypedDict

from sfbench import __version__
from sfbench.api.errors import PluginError, UsageError
from sfbench.api.spec import PATHS, Option
from sfbench.catalogue.stamps import unchanged
from sfbench.store.whole_file import write_whole
from sfbench.values.documents import DocumentError, as_document, read_document
from sfbench.values.paths import path_of, shown_name
from sfbench.values.records import digest

SHOWN = 2
"""Most broken plugins whose reason is in an error."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One model as listed: what its GeneratorSpec says, and the plugin it comes from.

    `bound`: the option that a reference KIND:VALUE gives.
    """

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
    reference: str
    executes: str
    requires: Mapping[str, str]
    bound: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def written(self) -> str:
        """How the model is named on a command line: `styleformer`, `onnx:FILE`."""
        return f"{self.name}:{self.reference.upper()}" if self.reference else self.name

    def referring(self, value: str) -> Model:
        """Return the model that this kind and a value name: `onnx:PATH` is called `onnx:FILE`."""
        kind = next(option.kind for option in self.options if option.name == self.reference)
        shown = shown_name(str(path_of(value))) if kind in PATHS else value
        return dataclasses.replace(self, name=f"{self.name}:{shown}", bound={self.reference: value})

    def check_usable(self, *, trusted: bool) -> None:
        """Raise UsageError for a model whose files run code, or that lacks a package.

        `trusted`: whether the user said that files which run code may.
        """
        if self.executes and not trusted:
            msg = (
                f"{self.name}: loading it runs {self.executes}; add --trust if you trust its source"
            )
            raise UsageError(msg)
        for package, install in self.requires.items():
            if find_spec(package) is None:
                msg = f"{self.name}: needs the package {package}: pip install '{install}'"
                raise UsageError(msg)

    def resolve(self, given: Mapping[str, str]) -> dict[str, Any]:
        """Return every option's value; raises UsageError for an unknown name or bad value."""
        known = {option.name: option for option in self.options}
        for name in given:
            if name not in known:
                there = ", ".join(known) or "none"
                msg = f"model {self.name} has no option {name}; it has {there}"
                raise UsageError(msg)
            if name in self.bound:
                msg = f"--option {name}={given[name]}: the model {self.name} names it already"
                raise UsageError(msg)
        values = {**given, **self.bound}
        return {
            name: option.parse(values[name]) if name in values else option.default
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
        kind, colon, value = name.partition(":")
        if colon and not found:
            kinds = [model for model in self.models if model.name == kind and model.reference]
            if kinds and not value:
                msg = f"model {name}: expected {kind}:{kinds[0].reference.upper()}"
                raise UsageError(msg)
            found = [model.referring(value) for model in kinds]
        if len(found) == 1:
            return found[0]
        if found:
            owners = " and ".join(model.plugin for model in found)
            msg = f"model {name} is offered by plugins {owners}; disable one with --no-plugin"
            raise PluginError(msg)
        names = ", ".join(sorted({model.written for model in self.models})) or "none"
        broken = [f"{entry.name}: {entry.problem}" for entry in self.plugins if entry.problem]
        more = f"; and {len(broken) - SHOWN} more" if len(broken) > SHOWN else ""
        told = f"{'; '.join(broken[:SHOWN])}{more}; see sfbench plugins"
        hint = f" (broken plugins: {told})" if broken else ""
        msg = f"model {name}: not found; available: {names}{hint}"
        raise UsageError(msg) if not broken else PluginError(msg)

    def offered(self, name: str) -> Model | None:
        """Return the model of that name, or None where it is offered by no plugin or by several."""
        try:
            return self.model(name)
        except (UsageError, PluginError):
            return None

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
