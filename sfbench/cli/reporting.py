"""Behind `sfbench report`: records from the store as a table or a file format."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich.console import Console

from sfbench.album import albums
from sfbench.api.errors import UsageError
from sfbench.cli import defaults
from sfbench.cli.exits import Exit
from sfbench.plan import parse_resolutions
from sfbench.records import Record
from sfbench.report import frame, table
from sfbench.report.pairing import paired
from sfbench.store import Store
from sfbench.trained import runs_of_store, training_run

FORMATS = ("table", "csv", "json", "md", "tex")
NARROW = 80


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What of the store is shown, and how; empty `models` or `res`: all."""

    form: str
    model: str | None
    res: str | None
    tidy: bool
    html: Path | None
    training: tuple[Path, ...] = ()


def show(store: Path, wanted: Wanted) -> Exit:
    """Print the stored records in the wanted format, or write a page; 5 when there is nothing."""
    if wanted.form not in FORMATS:
        msg = f"--format {wanted.form}: expected {', '.join(FORMATS)}"
        raise UsageError(msg)
    if wanted.html is not None and not wanted.html.absolute().parent.is_dir():
        msg = f"--html {wanted.html}: folder {wanted.html.parent} does not exist"
        raise UsageError(msg)
    records, unreadable = Store(store).load()
    for bad in unreadable:
        print(f"warning: {bad.path}: {bad.reason}: left out", file=sys.stderr)
    newest, older = frame.current(records)
    models = wanted.model.split(",") if wanted.model else []
    stored = sorted({record.case["model"] for record in newest})
    for name in set(models) - set(stored):
        there = ", ".join(stored) or "none"
        print(f"warning: no record of model {name}; there are {there}", file=sys.stderr)
    kept = chosen(newest, models, parse_resolutions(wanted.res) if wanted.res else ())
    if not kept:
        hint = "sfbench run --model NAME measures" if not records else "no record matches"
        print(f"nothing to show in {store / 'runs'}: {hint}", file=sys.stderr)
        return Exit.NOTHING_MEASURED
    if wanted.html is not None:
        write_page(page_text(kept, store, wanted.training), wanted.html)
        return Exit.OK
    notes = [f"{older} older or repeated records are not shown"] if older else []
    show_as(wanted, kept, notes)
    return Exit.OK


def show_as(wanted: Wanted, kept: Sequence[Record], notes: Sequence[str]) -> None:
    """Print records in the wanted format."""
    rows = frame.tidy(kept) if wanted.tidy else whole_rows(kept)
    match wanted.form:
        case "csv":
            sys.stdout.write(rows.to_csv(index=False))
        case "json":
            sys.stdout.write(rows.to_json(orient="records", indent=1) + "\n")
        case "md":
            sys.stdout.write(table.markdown(whole_rows(kept)))
        case "tex":
            from sfbench.report.latex import latex

            sys.stdout.write(latex(whole_rows(kept)))
        case _:
            console().print(table.terminal(whole_rows(kept), notes))


def chosen(
    records: Sequence[Record], models: Sequence[str], resolutions: Sequence[int]
) -> list[Record]:
    """Return the records of these models and resolutions (all, where none are named)."""
    return [
        record
        for record in records
        if (not models or record.case["model"] in models)
        and (not resolutions or record.case["resolution"] in resolutions)
    ]


def write_page(text: str, target: Path) -> None:
    """Write the HTML page, and say where it is."""
    try:
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        msg = f"--html {target}: cannot be written ({error.strerror})"
        raise UsageError(msg) from None
    print(target.absolute())


def page_text(records: Sequence[Record], store: Path, training: Sequence[Path] = ()) -> str:
    """Return the HTML page of records, with the pictures and training runs of their store.

    `training`: folders of further runs.
    """
    from sfbench.report.page import Beside, page  # jinja2 and a renderer come with it

    catalogue = defaults.catalogue([], [])
    beside = Beside(
        options={
            model.name: {option.name: option.default for option in model.options}
            for model in catalogue.models
        },
        albums=albums(store, [record.case for record in records]),
        runs=[*runs_of_store(store), *(training_run(folder) for folder in training)],
    )
    return page(records, beside, "sfbench report")


def whole_rows(records: Sequence[Record]) -> pd.DataFrame:
    """Return one row a case, quality and speed of the same thing in one."""
    return paired(frame.summary(records))


def print_table(records: Sequence[Record], notes: Sequence[str]) -> None:
    """Print these records as the terminal table."""
    if records:
        console().print(table.terminal(whole_rows(records), notes))


def console() -> Console:
    """Return a console of the terminal's width, or 80 columns where there is none."""
    return Console(width=None if sys.stdout.isatty() else NARROW, highlight=False)
