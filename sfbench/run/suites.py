"""Suites: TOML files of runs, each with its published values and its requirements.

title = "..."          source = "..."
[scale.smoke]          flags that replace those of every run at that scale
[[run]]                flags of sfbench run, and: row, dataset, checkpoint, published, note
"""

from __future__ import annotations

import dataclasses
import tomllib
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sfbench.api.errors import UsageError, first_line
from sfbench.api.regular_files import check_regular
from sfbench.values.case import Request, flag_text
from sfbench.values.metrics import find_metric
from sfbench.values.paths import pairs_of

SHIPPED = Path(__file__).with_name("suite_files")
SCALES = ("smoke", "quick", "full")
FLAGS = {
    name: kind
    for name, kind in typing.get_type_hints(Request).items()
    if name in {field.name for field in dataclasses.fields(Request) if field.metadata["suites"]}
}
MORE = ("row", "dataset", "checkpoint", "published", "note")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One run of a suite: its `request` at the scale, and what is known about it.

    `dataset` names the images it needs, `checkpoint` the card of its weights; `published` maps
    metric names to printed values.
    """

    title: str
    request: Request
    dataset: str | None = None
    checkpoint: str | None = None
    published: Mapping[str, float] = dataclasses.field(default_factory=dict)
    note: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """Rows that belong together, at a scale."""

    name: str
    title: str
    source: str
    scale: str
    rows: tuple[Row, ...]


def shipped_suites() -> list[str]:
    """Return the names of the suites in the package."""
    return sorted(path.stem for path in SHIPPED.glob("*.toml"))


def suite_path(name: str) -> Path:
    """Return the path of a shipped suite, or the given path."""
    return SHIPPED / f"{name}.toml" if name in shipped_suites() else Path(name)


def document_of(name: str) -> dict[str, Any]:
    """Return a suite's TOML document; raises UsageError for an invalid file."""
    try:
        check_regular(suite_path(name))
        return tomllib.loads(suite_path(name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        msg = f"--suite {name}: no such file, and not one of {', '.join(shipped_suites())}"
        raise UsageError(msg) from None
    except (OSError, ValueError, RecursionError) as error:
        msg = f"--suite {name}: {first_line(error)}"
        raise UsageError(msg) from None


def scales_of(name: str) -> list[str]:
    """Return the scales that a suite has."""
    found = document_of(name).get("scale", {})
    return ["full", *(scale for scale in SCALES if scale in found)]


def read_suite(name: str, scale: str = "full") -> Suite:
    """Return a shipped suite by name, or one from a file; raises UsageError if it is invalid."""
    if scale not in SCALES:
        msg = f"--scale {scale}: expected {', '.join(SCALES)}"
        raise UsageError(msg)
    document = document_of(name)
    stray = sorted(set(document) - {"title", "source", "scale", "run"})
    if stray:
        msg = f"--suite {name}: unknown key {stray[0]}; a suite has title, source, scale and run"
        raise UsageError(msg)
    runs = document.get("run")
    if not isinstance(runs, list) or not runs:
        msg = f'--suite {name}: no [[run]] table; each needs at least model = "NAME"'
        raise UsageError(msg)
    scaled = scale_of(name, document.get("scale", {}), scale)
    return Suite(
        name=suite_path(name).stem,
        title=str(document.get("title", suite_path(name).stem)),
        source=str(document.get("source", "")),
        scale=scale,
        rows=tuple(row_from(name, table, scaled) for table in runs),
    )


def scale_of(name: str, scales: Any, scale: str) -> Mapping[str, Any]:
    """Return the flags of a scale; full has none of its own."""
    known = isinstance(scales, Mapping) and set(scales) <= set(SCALES)
    if not known or not all(isinstance(one, Mapping) for one in scales.values()):
        msg = f"--suite {name}: expected tables under scale named {', '.join(SCALES)}"
        raise UsageError(msg)
    if scale not in scales and scale != "full":
        there = ", ".join(["full", *scales])
        msg = f"--scale {scale}: suite {name} has {there}"
        raise UsageError(msg)
    for flags in scales.values():
        unknown = sorted(set(flags) - set(FLAGS))
        if unknown:
            msg = (
                f"--suite {name}: unknown key {unknown[0]} in a scale; expected {', '.join(FLAGS)}"
            )
            raise UsageError(msg)
        request_from(name, {"model": "any", **flags})
    found: Mapping[str, Any] = scales.get(scale, {})
    return found


def row_from(suite: str, table: Mapping[str, Any], scaled: Mapping[str, Any]) -> Row:
    """Return the row that a [[run]] table stands for."""
    more = {name: table[name] for name in MORE if name in table}
    flags = {name: value for name, value in table.items() if name not in MORE} | dict(scaled)
    unknown = sorted(set(flags) - set(FLAGS))
    if unknown or "model" not in flags:
        found = f"unknown key {unknown[0]}" if unknown else "no model"
        msg = f"--suite {suite}: {found}; a [[run]] may have {', '.join((*FLAGS, *MORE))}"
        raise UsageError(msg)
    request = request_from(suite, flags)
    published = more.get("published", {})
    if not isinstance(published, Mapping) or not all(
        isinstance(value, int | float) for value in published.values()
    ):
        msg = f"--suite {suite}: published = {published!r}; expected metric names and numbers"
        raise UsageError(msg)
    for metric in published:
        if find_metric(str(metric)) is None:
            msg = f"--suite {suite}: published {metric}: no such metric; see sfbench list metrics"
            raise UsageError(msg)
    return Row(
        title=str(more.get("row", f"{request.model}, {request.res} px")),
        request=request,
        dataset=more.get("dataset"),
        checkpoint=more.get("checkpoint"),
        published={str(name): float(value) for name, value in published.items()},
        note=str(more.get("note", "")),
    )


def request_from(suite: str, flags: Mapping[str, Any]) -> Request:
    """Return the request that these flags make."""
    values: dict[str, Any] = {}
    for name, value in flags.items():
        if FLAGS[name] == tuple[str, ...]:
            if not isinstance(value, Mapping):
                msg = f'--suite {suite}: {name} = {value!r}; expected a table, e.g. {{ preset = "x" }}'
                raise UsageError(msg)
            values[name] = tuple(f"{key}={flag_text(one)}" for key, one in value.items())
        elif float in (kinds := typing.get_args(FLAGS[name]) or (FLAGS[name],)):
            if type(value) not in {int, float}:
                msg = f"--suite {suite}: {name} = {value!r}; expected a number"
                raise UsageError(msg)
            values[name] = float(value)
        elif int in kinds:
            if type(value) is not int:
                msg = f"--suite {suite}: {name} = {value!r}; expected a whole number"
                raise UsageError(msg)
            values[name] = value
        else:
            values[name] = flag_text(value)
    return Request(**values)


def named(text: str, flag: str, known: Iterable[str | None]) -> dict[str, str]:
    """Return the pairs of NAME=VALUE[,NAME=VALUE]; raises UsageError for anything else."""
    if not text:
        return {}
    found = pairs_of(text, known, flag)
    if found is None or not all(found.values()):
        there = ", ".join(sorted(filter(None, known))) or "none"
        msg = f"{flag} {text}: with a suite, expected NAME=PATH[,NAME=PATH]; its names: {there}"
        raise UsageError(msg)
    return found


def completed(
    suite: Suite, data: Mapping[str, str], weights: Mapping[str, str]
) -> list[tuple[Row, list[str]]]:
    """Return every row with the given images and weights, and what it still lacks.

    Raises UsageError for a name that no row has.
    """
    for flag, given, known in (
        ("data", data, {row.dataset for row in suite.rows}),
        ("weights", weights, {row.checkpoint for row in suite.rows}),
    ):
        for name in sorted(set(given) - {one for one in known if one}):
            there = ", ".join(sorted(one for one in known if one)) or "none"
            msg = f"--{flag} {name}=...: suite {suite.name} has {there}"
            raise UsageError(msg)
    return [completed_row(row, data, weights) for row in suite.rows]


def completed_row(
    row: Row, data: Mapping[str, str], weights: Mapping[str, str]
) -> tuple[Row, list[str]]:
    """Return one row with its given images and weights, and what it lacks."""
    request, lacks = row.request, []
    if row.dataset is not None:
        if row.dataset in data:
            request = dataclasses.replace(request, data=data[row.dataset])
        else:
            lacks.append(f"images: --data {row.dataset}=PATH")
    if row.checkpoint is not None:
        if row.checkpoint in weights:
            request = dataclasses.replace(request, weights=weights[row.checkpoint])
        else:
            lacks.append(f"weights: --weights {row.checkpoint}=FILE")
    return dataclasses.replace(row, request=request), lacks


def requests_of(rows: Sequence[tuple[Row, list[str]]]) -> list[Request]:
    """Return the requests of the rows that lack nothing."""
    return [row.request for row, lacks in rows if not lacks]
