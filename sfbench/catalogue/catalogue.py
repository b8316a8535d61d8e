"""Installed plugins as plain data, read in a child process: no plugin runs in the parent.

A plugin that hangs, exits or crashes the interpreter while it is imported ends its child only. The
answer is kept in a cache file and is valid while every file it was read from is unchanged.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, TypedDict

from sfbench import __version__
from sfbench.api.errors import PluginError, UsageError
from sfbench.api.spec import Option
from sfbench.store.whole_file import write_whole
from sfbench.values.documents import DocumentError, as_document, read_document
from sfbench.values.records import digest

IMPORT_SECONDS = 60
PARTS = ("models", "plugins", "checkpoints", "extractors")


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
    """One plugin as listed; `problem` says why a broken one offers nothing."""

    name: str
    origin: str
    problem: str | None
    models: tuple[str, ...]
    extractors: tuple[str, ...]


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
        broken = [entry.name for entry in self.plugins if entry.problem]
        hint = f" (broken plugins: {', '.join(broken)}; see sfbench plugins)" if broken else ""
        msg = f"model {name}: not found; available: {names}{hint}"
        raise UsageError(msg) if not broken else PluginError(msg)


def read_catalogue(given: Sequence[str], disabled: Sequence[str], cache: Path) -> Catalogue:
    """Return the catalogue, from the cache file while that is valid."""
    # The key includes the code and its location: one interpreter may run several copies, and an
    # answer by other code may lack required entries.
    own = [Path(__file__).with_name(name).read_text() for name in ("discovery.py", "catalogue.py")]
    place = [__version__, __file__, sys.executable]
    key = digest([place, own, list(given), sorted(disabled), entry_points()])
    file = cache / f"catalogue-{key[:16]}.json"
    kept = fresh(file)
    if kept is not None:
        return kept
    document = ask(given, disabled)
    if not any(entry["problem"] for entry in document["plugins"]):
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
        if any(stamp(Path(path)) != was for path, was in files.items()):
            return None
        return read_document(text, Catalogue)
    except (OSError, DocumentError):
        return None


def stamp(path: Path) -> list[int]:
    """Return a file's modification time and size, to detect changes."""
    status = path.stat()
    return [status.st_mtime_ns, status.st_size]


def keep(file: Path, document: Mapping[str, Any]) -> None:
    """Write the cache file; a read-only home only costs speed."""
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, json.dumps(document))


def ask(given: Sequence[str], disabled: Sequence[str]) -> dict[str, Any]:
    """Return the answer of one child process; if it dies, of one child per plugin."""
    try:
        return ask_once(given, disabled, [])
    except ChildDiedError:
        names = ask_names(given, disabled)
    answers = []
    for name in names:
        try:
            answers.append(ask_once(given, disabled, [name]))
        except ChildDiedError as death:
            origin = "--plugin" if any(Path(p).stem == name or p == name for p in given) else ""
            broken: dict[str, Any] = {"name": name, "origin": origin, "problem": str(death)}
            broken |= {"models": [], "extractors": []}
            nothing: dict[str, Any] = {part: [] for part in PARTS}
            answers.append(nothing | {"plugins": [broken], "files": {}})
    return {part: [entry for answer in answers for entry in answer[part]] for part in PARTS} | {
        "files": {}
    }


class ChildDiedError(Exception):
    """The child process that imports plugins ended without an answer."""


def ask_names(given: Sequence[str], disabled: Sequence[str]) -> list[str]:
    """Return the plugins' names; nothing of theirs is imported for that."""
    return list(child_answer(given, disabled, ["--names"])["names"])


def ask_once(given: Sequence[str], disabled: Sequence[str], only: Sequence[str]) -> dict[str, Any]:
    """Return what a child process finds; raises ChildDiedError when it gives no answer."""
    return child_answer(given, disabled, [part for name in only for part in ("--only", name)])


def child_answer(
    given: Sequence[str], disabled: Sequence[str], more: Iterable[str]
) -> dict[str, Any]:
    """Run `python -m sfbench.catalogue.discovery` and return the JSON document it writes."""
    arguments = [part for text in given for part in ("--plugin", text)]
    arguments += [part for name in disabled for part in ("--no-plugin", name)]
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        command = [
            sys.executable,
            "-m",
            "sfbench.catalogue.discovery",
            str(answer),
            *arguments,
            *more,
        ]
        try:
            child = subprocess.run(  # noqa: S603  # our own interpreter and module
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=IMPORT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            msg = f"importing it took more than {IMPORT_SECONDS} s"
            raise ChildDiedError(msg) from None
        if not answer.exists():
            lines = child.stderr.decode(errors="replace").strip().splitlines()
            reason = lines[-1] if lines else "no output"
            msg = f"importing it ended the process (status {child.returncode}): {reason}"
            raise ChildDiedError(msg)
        document: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
    if "usage" in document:
        raise UsageError(document["usage"])
    return document
