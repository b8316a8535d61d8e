"""Behind `sfbench report`: records from the store as a table or a file format."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich.console import Console

from sfbench.api.errors import UsageError
from sfbench.cli.exits import Exit
from sfbench.plan import parse_resolutions
from sfbench.records import Record
from sfbench.report import frame, table
from sfbench.report.pairing import paired
from sfbench.store import Store

FORMATS = ("table", "csv", "json", "md", "tex")
NARROW = 80


def show(store: Path, form: str, model: str | None, res: str | None, *, tidy: bool) -> Exit:
    """Print the stored records in the wanted format; 5 when there is nothing to show."""
    if form not in FORMATS:
        msg = f"--format {form}: expected {', '.join(FORMATS)}"
        raise UsageError(msg)
    records, unreadable = Store(store).load()
    for bad in unreadable:
        print(f"warning: {bad.path}: {bad.reason}: left out", file=sys.stderr)
    kept, older = frame.current(records)
    models = model.split(",") if model else []
    resolutions = parse_resolutions(res) if res else ()
    whole = frame.tidy(kept) if tidy else whole_rows(kept)
    chosen = frame.select(whole, models, resolutions)
    stored = sorted({record.case["model"] for record in kept})
    for name in set(models) - set(stored):
        there = ", ".join(stored) or "none"
        print(f"warning: no record of model {name}; there are {there}", file=sys.stderr)
    if chosen.empty:
        hint = "sfbench run --model NAME measures" if not records else "no record matches"
        print(f"nothing to show in {store / 'runs'}: {hint}", file=sys.stderr)
        return Exit.NOTHING_MEASURED
    match form:
        case "csv":
            sys.stdout.write(chosen.to_csv(index=False))
        case "json":
            sys.stdout.write(chosen.to_json(orient="records", indent=1) + "\n")
        case "md":
            sys.stdout.write(table.markdown(frame.select(whole_rows(kept), models, resolutions)))
        case "tex":
            from sfbench.report.latex import latex

            sys.stdout.write(latex(frame.select(whole_rows(kept), models, resolutions)))
        case _:
            notes = [f"{older} older or repeated records are not shown"] if older else []
            rows = frame.select(whole_rows(kept), models, resolutions)
            console().print(table.terminal(rows, notes))
    return Exit.OK


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
