"""The identity of a trial, by which a stored one is reused: case, code, machine, protocol.

The code is what the trial's steps can reach by imports, with data files (see `reach`), and the
model's own; versions are those of the packages that either imports. No list is maintained by
hand: steps name their modules, and modules their imports.
"""

from __future__ import annotations

import functools
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sfbench.catalogue.catalogue import Model
from sfbench.catalogue.reach import Reach, SourceTree, harness_tree, versions_of
from sfbench.data.sources import reading_modules
from sfbench.hardware.devices import find_backend
from sfbench.trial import search as search_step
from sfbench.trial.steps import modules_of
from sfbench.values.case import Case, Measure
from sfbench.values.records import PROTOCOL, digest

FRAME = ("sfbench.trial.worker", "sfbench.trial.steps")
"""The module that combines the steps: its own text counts, not its imports."""
SEARCH = "sfbench.run.search"
"""The module that searches a batch size before a trial."""
OF_ONE_HOST = frozenset({"versions", "host"})
"""Facts of a machine that are no part of an identity; versions count by package."""
COMPILERS = frozenset({"triton"})
"""Packages that torch.compile generates code with, which nothing imports by name."""


def measuring_code(
    measures: Iterable[Measure], device: str, images: str, tree: SourceTree
) -> Reach:
    """Return what a trial of these measures can reach on that device, with that kind of images.

    Raises UnknownModuleError if a step is in no module of the tree.
    """
    asked = frozenset(measures)
    modules = (*modules_of(asked), type(find_backend(device)).__module__)
    if "quality" in asked:
        modules += reading_modules(images)
    search = (SEARCH,) if search_step.__name__ in modules else ()
    return tree.reach(modules, leaves=(*FRAME, *search))


class Identities:
    """Identities of trials on this installation and machine; code is read once per measures."""

    def __init__(self, machine: Mapping[str, Any], tree: SourceTree | None = None) -> None:
        # Of two machines of one kind, which share a store, only one measures a trial.
        self.machine = {name: value for name, value in machine.items() if name not in OF_ONE_HOST}
        self.python = machine["versions"]["python"]
        self.tree = tree or harness_tree()
        self.reached: dict[tuple[tuple[Measure, ...], str, str], Reach] = {}

    def reach(self, case: Case) -> Reach:
        """Return what the case's trial can reach."""
        key = case.measure, case.device, case.data.kind
        if key not in self.reached:
            self.reached[key] = measuring_code(*key, self.tree)
        return self.reached[key]

    def of(self, case: Case, model: Model, extractor: Mapping[str, Any] | None = None) -> str:
        """Return the digest that identifies a trial.

        `extractor`: the plugin's entry of the case's extractor; None if a plugin offers none.
        """
        reach = self.reach(case)
        packages = reach.packages | set(model.packages)
        code = [model.code_sha256]
        if "quality" in case.measure and extractor is not None:
            packages |= set(extractor["packages"])
            code.append(extractor["code_sha256"])
        if case.mode.startswith("compile"):
            packages |= COMPILERS
        machine = dict(self.machine)
        if find_backend(case.device).is_host:
            machine.pop("gpus", None)  # a scheduler may hide them
        parts = [case.key(), code, reach.digest, machine, self.python, versions_of(packages)]
        return digest([*parts, PROTOCOL])


@functools.cache
def commit() -> str | None:
    """Return the commit of the checkout that this program runs from, with "+" if modified.

    None for an installed copy: a repository around its virtual environment does not count.
    """
    here = Path(__file__).parent
    if git(here, "ls-files", "--error-unmatch", Path(__file__).name) is None:
        return None
    head = git(here, "rev-parse", "--short=12", "HEAD")
    changed = git(here, "status", "--porcelain", "--untracked-files=no")
    return f"{head}+" if head and changed else head


def git(folder: Path, *words: str) -> str | None:
    """Return git's output, or None if it fails or is not installed."""
    try:
        done = subprocess.run(  # noqa: S603  # words of our own
            ["git", "-C", str(folder), *words],  # noqa: S607  # whichever git the user has
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
