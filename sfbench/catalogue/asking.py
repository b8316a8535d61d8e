"""The child process that imports plugins, and what is known of plugins that ended it or hung in it.

A plugin that hangs, exits or crashes the interpreter while it is imported costs one such child. It
is not imported again until its files change.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any, TypedDict

from sfbench.catalogue.registry import PluginSource, plugin_sources
from sfbench.catalogue.stamps import stamp, unchanged
from sfbench.hardware import leftovers
from sfbench.store.whole_file import write_whole
from sfbench.values.documents import DocumentError, read_document

SILENT_SECONDS = 10
"""An import that goes on for so long without importing anything more is given up."""
MOST_SECONDS = 600
LINE_LENGTH = 200
PARTS = ("models", "plugins", "checkpoints", "extractors")
ANSWER, OUTPUT, STUCK, NOW = "answer.json", "output", "stuck", "now"
"""Files of the child's folder: what it found, what it printed, where it hung, what it imports."""
FRAME = re.compile(r'File "([^"]*)", line (\d+)')


class Death(TypedDict):
    """Why a plugin cannot be imported, and the files that it depends on, with their stamps."""

    problem: str
    files: dict[str, list[int]]


class ChildDiedError(Exception):
    """The child process ended without an answer; `plugin`: the one it hung in, if it did."""

    def __init__(self, problem: str, plugin: str | None = None) -> None:
        super().__init__(problem)
        self.plugin = plugin


def ask(given: Sequence[str], disabled: Sequence[str], memory: Path) -> dict[str, Any]:
    """Return what all plugins offer, as data; `memory`: the file of plugins that ended a child.

    Raises UsageError for a name in `disabled` that is no plugin's.
    """
    sources = plugin_sources(given, disabled)
    known = remembered(memory)
    dead = {s.name: known[s.target]["problem"] for s in sources if s.target in known}
    unknown = {source.name for source in sources} - set(dead)
    answers: list[dict[str, Any]] = []
    while not answers:
        left = [source.name for source in sources if source.name not in dead]
        try:
            answers = [child_answer(given, left)]
        except ChildDiedError as death:
            if death.plugin is None:
                answers, ended = ask_each(given, left)
                dead |= ended
            else:
                dead[death.plugin] = str(death)
    # A plugin that only raised may find what it lacks at any time: it is asked again.
    lasting = all(entry["problem"] is None for answer in answers for entry in answer["plugins"])
    lost = {s.target: death_of(s, dead[s.name]) for s in sources if s.name in dead}
    if unknown & set(dead):
        remember(memory, known | lost)
    broken = [entry_of(source, dead[source.name]) for source in sources if source.name in dead]
    document = {part: [entry for answer in answers for entry in answer[part]] for part in PARTS}
    order = [source.name for source in sources]
    document["plugins"] = sorted(
        document["plugins"] + broken, key=lambda entry: order.index(entry["name"])
    )
    files = {path: was for one in (*answers, *lost.values()) for path, was in one["files"].items()}
    return document | {"files": files, "lasting": lasting}


def ask_each(
    given: Sequence[str], names: Sequence[str]
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Return the answers of one child per plugin, and why others gave none."""
    answers, ended = [], {}
    for name in names:
        try:
            answers.append(child_answer(given, [name]))
        except ChildDiedError as death:
            ended[name] = str(death)
    return answers or [{part: [] for part in PARTS} | {"files": {}}], ended


def death_of(source: PluginSource, problem: str) -> Death:
    """Return a plugin's death, with the stamps of its files and of where packages are installed."""
    found = [Path(sysconfig.get_path("purelib"))]
    if source.target.endswith(".py"):
        found += [Path(source.target)]
    else:
        top = PathFinder.find_spec(source.target.partition(".")[0])
        for place in (top.submodule_search_locations or []) if top else []:
            found += sorted(Path(place).rglob("*.py"))
        if top and top.origin:
            found.append(Path(top.origin))
    files = {str(path): stamp(path) for path in found if path.exists()}
    return Death(problem=problem, files=files)


def entry_of(source: PluginSource, problem: str) -> dict[str, Any]:
    """Return a plugin that could not be imported, as listed."""
    named: dict[str, Any] = {"name": source.name, "origin": source.origin, "problem": problem}
    return named | {"models": [], "extractors": [], "hooks": []}


def child_answer(given: Sequence[str], only: Sequence[str]) -> dict[str, Any]:
    """Return what a child process finds in the plugins of these names.

    Raises ChildDiedError when it gives no answer.
    """
    arguments = ["--parent", str(os.getpid()), "--seconds", str(SILENT_SECONDS)]
    arguments += [part for text in given for part in ("--plugin", text)]
    arguments += [part for name in only for part in ("--only", name)]
    with leftovers.child_folder() as folder:
        command = [sys.executable, "-P", "-m", "sfbench.catalogue.discovery", str(folder)]
        with (folder / OUTPUT).open("wb") as output:
            child = subprocess.Popen(  # noqa: S603  # our own interpreter and module
                [*command, *arguments],
                env=os.environ | {leftovers.MARK: str(folder)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            child.wait(MOST_SECONDS)
        except subprocess.TimeoutExpired:
            (folder / STUCK).write_text(" ", encoding="utf-8")
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            leftovers.end_all(str(folder))
        return answer_in(folder, child.returncode)


def answer_in(folder: Path, status: int) -> dict[str, Any]:
    """Return the answer that a child left in its folder; raises ChildDiedError if it left none."""
    with contextlib.suppress(OSError, ValueError):
        document: dict[str, Any] = json.loads((folder / ANSWER).read_text(encoding="utf-8"))
        return document
    stuck = text_of(folder / STUCK)
    if stuck:
        problem = f"importing it hung{place_in(stuck)}; it is tried again when its file changes"
        raise ChildDiedError(problem, text_of(folder / NOW) or None)
    lines = text_of(folder / OUTPUT).strip().splitlines()
    reason = lines[-1][:LINE_LENGTH] if lines else "no output"
    msg = f"importing it ended the process (status {status}): {reason}"
    raise ChildDiedError(msg)


def place_in(frames: str) -> str:
    """Return where a process hung, from its frames, the innermost first: not in Python's own code."""
    found = [(Path(file), line) for file, line in FRAME.findall(frames)]
    library = sysconfig.get_path("stdlib")
    own = [one for one in found if one[0].is_absolute() and not one[0].is_relative_to(library)]
    return "".join(f" ({file.name}:{line})" for file, line in (own or found)[:1])


def text_of(file: Path) -> str:
    """Return a file's text, empty if there is none."""
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def remembered(memory: Path) -> dict[str, Death]:
    """Return the plugins, by target, that ended a child and whose files are as they were."""
    try:
        known = read_document(memory.read_bytes(), dict[str, Death])
    except (OSError, DocumentError):
        return {}
    return {target: death for target, death in known.items() if unchanged(death["files"])}


def remember(memory: Path, deaths: Mapping[str, Death]) -> None:
    """Write what is known; a read-only home only costs time."""
    with contextlib.suppress(OSError):
        memory.parent.mkdir(parents=True, exist_ok=True)
        write_whole(memory, json.dumps(deaths))
