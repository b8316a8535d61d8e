"""Behind `sfbench run --train-kimg`: train models without weights, each in a new process."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sfbench.api.errors import SfbenchError
from sfbench.catalogue.catalogue import Catalogue
from sfbench.cli.exits import Exit
from sfbench.hardware import leftovers
from sfbench.run.schedule import Given
from sfbench.run.trained import weights_of_run
from sfbench.run.work import Worker
from sfbench.store.content import file_sha256
from sfbench.store.training_runs import read_lines
from sfbench.values.case import Case, Source, flag_text
from sfbench.values.fields import names
from sfbench.values.plan import Plan
from sfbench.values.records import digest

TRAINED_BY = names(Case, "training")
"""Fields of a case that decide its training, beside its length."""


STANDARD_ERROR = 2
"""The descriptor: Python's own stream may be something else, as in a notebook."""


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
            try:
                found[folder] = weights_for(case, catalogue, folder, worker)
            except SfbenchError as error:
                found[folder] = error
        weights = found[folder]
        if isinstance(weights, Source):
            cases.append(dataclasses.replace(case, weights=weights, train_kimg=None))
    failures = [one for one in found.values() if isinstance(one, SfbenchError)]
    return dataclasses.replace(plan, cases=tuple(cases)), failures


def weights_for(case: Case, catalogue: Catalogue, folder: Path, worker: Worker) -> Source:
    """Return the weights of a case's training, which this worker carries out if no other does."""
    name, what = f"training-{folder.name}", f"training {case.title()}"
    while True:
        done = if_trained(case, catalogue, worker.store.root)
        if done.train_kimg is None:
            return done.weights
        claim = worker.claims.take(name, what)
        if claim is not None:
            with claim:
                return trained(case, catalogue, folder, worker.given)
        worker.wait(1)


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
    given: Given,
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
    train(arguments, case.title(), folder, given.plugins, given.disabled)
    path = weights_of_run(folder)
    return Source(kind="file", path=str(path.resolve()), sha256=file_sha256(path))


def train(
    arguments: Sequence[str],
    title: str,
    folder: Path,
    plugins: Sequence[str],
    disabled: Sequence[str],
) -> None:
    """Run `sfbench train` to its end; raises TrainingFailedError, and passes an interrupt on."""
    for flag, values in (("--plugin", plugins), ("--no-plugin", disabled)):
        arguments = [*arguments, *(word for name in values for word in (flag, name))]
    # -P: nothing in the current folder may stand in for a module.
    code = ended([sys.executable, "-P", "-m", "sfbench", "train", *arguments])
    if code == Exit.INTERRUPTED:
        raise KeyboardInterrupt
    if code != Exit.OK:
        msg = f"{title}: training ended with exit code {code}; see above ({folder})"
        raise TrainingFailedError(msg)


def ended(command: Sequence[str]) -> int:
    """Run a command to its end and return its exit code; an interrupt is passed on, once.

    It has a session of its own: otherwise a terminal would interrupt it a second time, while it
    saves what it has.
    """
    environment = {**os.environ, leftovers.PARENT: str(os.getpid())}
    with subprocess.Popen(  # noqa: S603  # this program
        command, stdout=STANDARD_ERROR, env=environment, start_new_session=True
    ) as child:
        try:
            return child.wait()
        except KeyboardInterrupt:
            child.send_signal(signal.SIGINT)
            child.wait()
            raise


def preset_of(case: Case, catalogue: Catalogue) -> str | None:
    """Return the training preset named like the case's size preset; None: default settings."""
    named = case.options.get("preset")
    presets: Sequence[Mapping[str, Any]] = catalogue.model(case.model).presets
    same = (p for p in presets if p["name"] == named and p["resolution"] == case.resolution)
    return next((str(preset["name"]) for preset in same), None)
