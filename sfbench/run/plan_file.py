"""A plan as a file: what was asked, and the cases that it makes, with digests of all they read.

Any machine can carry it out: a worker makes the cases anew where it works, and refuses to begin if one
of them would measure something else, because a file has another content there. What a place decides
by itself (the device, its threads, the usual number of images) is left open.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

import msgspec

from sfbench import __version__
from sfbench.api.errors import DataError, UsageError, first_line
from sfbench.api.regular_files import check_regular
from sfbench.hardware.devices import AUTO
from sfbench.store.whole_file import write_whole
from sfbench.values.case import Case, Request
from sfbench.values.documents import DocumentError, as_document, read_document
from sfbench.values.plan import Plan
from sfbench.values.records import digest

SCHEMA: Literal[1] = 1
NAME_LENGTH = 12
FLAGS = {field.name for field in dataclasses.fields(Request) if field.metadata["suites"]}
"""What a plan, perhaps a stranger's, may set: trust in code is not among it."""
MOST_TRIALS = 10_000
Flag = str | int | float | list[str] | None


class PlannedCase(TypedDict):
    """A case: a title for people, its canonical inputs, and which of them are left open."""

    title: str
    inputs: dict[str, Any]
    open: list[str]


class PlanDocument(TypedDict):
    """A plan. `folder`: where paths in it begin. `plugins`, `disabled`: as the flags of `run`.

    `trust`: whether it runs code that its files name, for which each worker needs `--trust`, too.
    """

    schema: Literal[1]
    sfbench: str
    folder: str
    requests: list[dict[str, Flag]]
    cases: list[PlannedCase]
    trials: Annotated[int, msgspec.Meta(ge=1, le=MOST_TRIALS)]
    timeout_seconds: Annotated[float, msgspec.Meta(gt=0)]
    plugins: list[str]
    disabled: list[str]
    trust: bool


def left_open(request: Request, case: Case) -> list[str]:
    """Return the inputs of a case that the place where it is measured decides."""
    found = {
        "device": request.device == AUTO,
        "threads": request.threads is None,
        "samples": request.samples is None,
        "batch": case.batch_rule != "fixed",
        "weights": case.train_kimg is not None,
    }
    return [name for name, is_open in found.items() if is_open]


def without(inputs: Mapping[str, Any], names: Sequence[str] | frozenset[str]) -> str:
    """Return the digest of a case's inputs without these; a searched batch size is not fixed."""
    left = {name for name in inputs if name not in names}
    if inputs.get("batch_rule", "fixed") != "fixed":
        left.discard("batch")
    return digest({name: inputs[name] for name in left if name != "files"})


def document_of(
    pairs: Sequence[tuple[Request, Plan]],
    *,
    trials: int,
    timeout_seconds: float,
    plugins: Sequence[str],
    disabled: Sequence[str],
) -> PlanDocument:
    """Return the plan of requests, each with the cases it makes on its own."""
    cases: dict[str, PlannedCase] = {}
    for request, plan in pairs:
        for case in plan.cases:
            # Of rows that make one case, the freest decides.
            names = {*left_open(request, case), *cases.get(case.key(), {"open": []})["open"]}
            inputs = {name: value for name, value in case.inputs().items() if name not in names}
            measured = ", ".join(case.measure)
            one = PlannedCase(
                title=f"{case.title()}: {measured}", inputs=inputs, open=sorted(names)
            )
            cases[case.key()] = one
    return PlanDocument(
        schema=SCHEMA,
        sfbench=__version__,
        folder=str(Path.cwd()),
        requests=[
            {name: value for name, value in dataclasses.asdict(request).items() if name in FLAGS}
            for request, _ in pairs
        ],
        cases=list(cases.values()),
        trials=trials,
        timeout_seconds=timeout_seconds,
        plugins=list(plugins),
        disabled=list(disabled),
        trust=bool(plugins) or any(request.trust for request, _ in pairs),
    )


def trial_count(document: PlanDocument) -> int:
    """Return how many trials a plan has."""
    return len(document["cases"]) * document["trials"]


def name_of(document: PlanDocument) -> str:
    """Return twelve digits that name a plan: equal plans have one name."""
    return digest(document)[:NAME_LENGTH]


def write_plan(document: PlanDocument, path: Path) -> None:
    """Write a plan; raises DataError where that cannot be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(document, indent=1) + "\n")
    except OSError as error:
        msg = f"{path}: the plan cannot be written ({error.strerror})"
        raise DataError(msg) from None


def read_plan(path: Path) -> PlanDocument:
    """Return the plan in a file; raises UsageError for anything else."""
    try:
        check_regular(path)
        return read_document(path.read_bytes(), PlanDocument)
    except FileNotFoundError:
        msg = f"--plan {path}: no such file; sfbench plan --suite NAME --out FILE writes one"
        raise UsageError(msg) from None
    except (OSError, ValueError) as error:
        msg = f"--plan {path}: not a plan that sfbench {__version__} reads ({first_line(error)})"
        raise UsageError(msg) from None


def requests_of(document: PlanDocument, path: Path) -> list[Request]:
    """Return the requests of a plan; raises UsageError for flags that this version has not."""
    found = []
    for flags in document["requests"]:
        unknown = sorted(set(flags) - FLAGS)
        try:
            if unknown:
                msg = f"unknown flag {unknown[0]}"
                raise DocumentError(msg)  # noqa: TRY301  # told as a wrong value is
            found.append(as_document(dict(flags), Request))
        except DocumentError as error:
            msg = f"--plan {path}: {error}; it was written by sfbench {document['sfbench']}"
            raise UsageError(msg) from None
    return found


def check_cases(plan: Plan, document: PlanDocument, path: Path) -> None:
    """Raise DataError unless the cases made here are those that were planned."""
    every = [case.inputs() for case in plan.cases]
    for planned in document["cases"]:
        wanted = without(planned["inputs"], planned["open"])
        if any(without(inputs, planned["open"]) == wanted for inputs in every):
            continue
        near = min(every, key=lambda inputs: len(different(inputs, planned)), default={})
        name, *_ = different(near, planned) or ["model"]
        here, there = (shown(one.get(name)) for one in (near, planned["inputs"]))
        msg = (
            f"--plan {path}: {planned['title']}: {name} is {here} here, and {there} in the plan; "
            "the same content has to be at the same path, or plan again"
        )
        raise DataError(msg)


def different(inputs: Mapping[str, Any], planned: PlannedCase) -> list[str]:
    """Return in which inputs a case differs from a planned one."""
    names = sorted({*inputs, *planned["inputs"]} - {*planned["open"], "files"})
    return [name for name in names if inputs.get(name) != planned["inputs"].get(name)]


def shown(value: Any) -> str:
    """Return an input in a few words: a file by the digest of its content."""
    if isinstance(value, Mapping) and "sha256" in value:
        found = str(value["sha256"] or "")
        return f"{value['kind']}, sha256 {found[:NAME_LENGTH]}" if found else str(value["kind"])
    return f"{value}"[:80]
