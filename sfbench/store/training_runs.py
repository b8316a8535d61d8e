"""The outputs of a training run: its settings, and one log line per tick. No torch."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from sfbench.api.errors import DataError
from sfbench.values.documents import DocumentError, read_document

RUN, LINES = "run.json", "log.jsonl"
EVENTS = "events.out.tfevents.*"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRun:
    """A run's name, its settings (empty if unknown), and the lines of its log.

    A line has `step`, maybe `kimg` and `seconds_per_kimg`, and numbers by name.
    """

    name: str
    asked: Mapping[str, Any]
    lines: Sequence[Mapping[str, Any]]


class Described(TypedDict):
    """What run.json holds: the run's identity, and what was asked of it."""

    identity: str
    asked: dict[str, Any]


def read_asked(folder: Path) -> dict[str, Any] | None:
    """Return a run's identity and settings, or None if there is no run.

    Raises DataError for a damaged document.
    """
    path = folder / RUN
    if not path.is_file():
        return None
    try:
        document = read_document(path.read_bytes(), Described)
        return {"identity": document["identity"], "asked": document["asked"]}
    except (OSError, DocumentError) as error:
        msg = f"{path}: not the description of a training run ({error})"
        raise DataError(msg) from None


def read_lines(folder: Path) -> list[dict[str, Any]]:
    """Return the lines of a run's log, without a truncated last line."""
    path = folder / LINES
    texts = []
    if path.exists():
        texts = path.read_text(encoding="utf-8", errors="replace").splitlines()
    found = []
    for text in texts:
        try:
            line = read_document(text, dict[str, float | str | bool | None])
        except DocumentError:
            continue
        if isinstance(line.get("step"), int | float):
            found.append(line)
    return found


def training_runs(folder: Path) -> list[TrainingRun]:
    """Return the run of a folder of `sfbench train`, or of TensorBoard event files of any program.

    Every subfolder of event files is a run. Raises DataError for a folder that holds neither.
    """
    document, lines = read_asked(folder), read_lines(folder)
    name = folder.resolve().name
    if lines:
        asked = {} if document is None else document["asked"]
        return [TrainingRun(name=name, asked=asked, lines=lines)]
    places = sorted({path.parent for path in folder.rglob(EVENTS)})
    if not places:
        msg = f"{folder}: holds no training log; expected {LINES}, or TensorBoard event files"
        raise DataError(msg)
    return [
        TrainingRun(
            name=name if place == folder else f"{name}/{place.relative_to(folder).as_posix()}",
            asked={},
            lines=read_events(place),
        )
        for place in places
    ]


def read_events(place: Path) -> list[dict[str, Any]]:
    """Return the scalars of a folder's event files, one line per step.

    Raises DataError if the package tensorboard, which reads them, is not installed.
    """
    try:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    except ImportError:
        msg = f"{place}: reading TensorBoard event files needs the package tensorboard; install it"
        raise DataError(msg) from None
    steps: dict[int, dict[str, Any]] = {}
    events = EventAccumulator(str(place), size_guidance={"scalars": 0})
    events.Reload()
    for name in events.Tags()["scalars"]:
        for event in events.Scalars(name):
            steps.setdefault(event.step, {"step": event.step})[name] = event.value
    return [steps[step] for step in sorted(steps)]


def runs_of_store(store: Path) -> list[TrainingRun]:
    """Return the runs that `sfbench run --train-kimg` left in a store, except damaged ones."""
    found: list[TrainingRun] = []
    for folder in sorted((store / "training").glob("*/")):
        if read_lines(folder):
            with contextlib.suppress(DataError):
                found += training_runs(folder)
    return found
