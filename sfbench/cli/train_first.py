"""Behind `sfbench run --train-kimg`: train models without weights, each in a new process."""

from __future__ import annotations

import contextlib
import dataclasses
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sfbench.api.errors import SfbenchError
from sfbench.catalogue.catalogue import Catalogue
from sfbench.cli.exits import Exit
from sfbench.data.content import file_sha256
from sfbench.run.trained import weights_of_run
from sfbench.run.work import Worker
from sfbench.store.training_runs import read_lines
from sfbench.values.case import Case, Source, flag_text
from sfbench.values.fields import names
from sfbench.values.plan import Plan
from sfbench.values.records import digest

TRAINED_BY = names(Case, "training")
"""Fields of a case that decide its training, beside its length."""


class TrainingFailedError(SfbenchError):
    """A training run ended without weights."""


def with_weights(
    plan: Plan, catalogue: Catalogue, worker: Worker
) -> tuple[Plan, list[SfbenchError]]:
    """Return the plan with trained weights in place of random ones, and the failures.

    Runs are in the store's folder `training`, named by a digest of their inputs: repeating the
    command finds them and continues an interrupted one; one that another worker trains is waited
    for. Cases whose training failed are left out. Raises KeyboardInterrupt when interrupted; the
    run is kept.
    """
    found: dict[Path, Source | SfbenchError] = {}
    cases = []
    for case in plan.cases:
        if case.train_kimg is None:
            cases.append(case)
            continue
        code = catalogue.model(case.model).code_sha256
        folder = worker.store.root / "training" / training_key(case, code)
        if folder not in found:
            given = worker.given
            try:
                with worker.claimed(f"training-{folder.name}", f"training {case.title()}"):
                    found[folder] = trained(case, catalogue, folder, given.plugins, given.disabled)
            except SfbenchError as error:
                found[folder] = error
        weights = found[folder]
        if isinstance(weights, Source):
            cases.append(dataclasses.replace(case, weights=weights, train_kimg=None))
    failures = [one for one in found.values() if isinstance(one, SfbenchError)]
    return dataclasses.replace(plan, cases=tuple(cases)), failures


def training_key(case: Case, code: str) -> str:
    """Return a name for the training that a case needs; `code`: digest of the model's code."""
    inputs = case.inputs()
    decides = {name: inputs[name] for name in TRAINED_BY if name in inputs}
    decides |= {"kimg": case.train_kimg, "code": code}
    return f"{case.model}-{case.resolution}-{digest(decides)[:12]}"


def if_trained(case: Case, catalogue: Catalogue, store: Path) -> Case:
    """Return the case with the weights of its finished training in the store, if there is one."""
    if case.train_kimg is None:
        return case
    folder = store / "training" / training_key(case, catalogue.model(case.model).code_sha256)
    seen = max((line.get("kimg", 0.0) for line in read_lines(folder)), default=0.0)
    if seen < case.train_kimg:
        return case
    with contextlib.suppress(SfbenchError):
        path = weights_of_run(folder)
        source = Source(kind="file", path=str(path.resolve()), sha256=file_sha256(path))
        return dataclasses.replace(case, weights=source, train_kimg=None)
    return case


def trained(
    case: Case,
    catalogue: Catalogue,
    folder: Path,
    plugins: Sequence[str],
    disabled: Sequence[str],
) -> Source:
    """Train, or continue a started run; return the weights of the last step."""
    arguments = [
        "--model", case.model, "--res", str(case.resolution), "--kimg", f"{case.train_kimg:g}",
        "--data", case.data.path or case.data.kind, "--seed", str(case.seed),
        "--device", case.device, "--threads", str(case.threads), "--metrics", "0",
        "--out", str(folder), "--resume",
    ]  # fmt: skip
    preset = preset_of(case, catalogue)
    arguments += ["--preset", preset] if preset else []
    for name, value in case.options.items():
        arguments += ["--option", f"{name}={flag_text(value)}"] if value is not None else []
    for flag, given in (("--plugin", plugins), ("--no-plugin", disabled)):
        for name in given:
            arguments += [flag, name]
    command = [sys.executable, "-m", "sfbench", "train", *arguments]
    code = subprocess.run(command, check=False, stdout=sys.stderr).returncode  # noqa: S603  # this program
    if code == Exit.INTERRUPTED:
        raise KeyboardInterrupt
    if code != Exit.OK:
        msg = f"{case.title()}: training ended with exit code {code}; see above ({folder})"
        raise TrainingFailedError(msg)
    path = weights_of_run(folder)
    return Source(kind="file", path=str(path.resolve()), sha256=file_sha256(path))


def preset_of(case: Case, catalogue: Catalogue) -> str | None:
    """Return the training preset named like the case's size preset; None: default settings."""
    named = case.options.get("preset")
    presets: Sequence[Mapping[str, Any]] = catalogue.model(case.model).presets
    same = (p for p in presets if p["name"] == named and p["resolution"] == case.resolution)
    return next((str(preset["name"]) for preset in same), None)
