"""Behind `sfbench report`: records from the store as a table or a file format."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sfbench.api.errors import UsageError
from sfbench.cli import defaults
from sfbench.cli.exits import Exit
from sfbench.cli.progress import PassProgress
from sfbench.cli.terminal import console
from sfbench.report import frame, table
from sfbench.report.index import Indexed, indexed
from sfbench.report.measurements import Measurements, measurements
from sfbench.report.pairing import paired
from sfbench.store.album import albums
from sfbench.store.runs import OWN, Origin, Store
from sfbench.store.training_runs import runs_of_store, training_runs
from sfbench.store.whole_file import write_whole
from sfbench.values.paths import model_names
from sfbench.values.records import Record
from sfbench.values.sizes import Size, parse_sizes, size_of

if TYPE_CHECKING:
    from sfbench.catalogue.catalogue import Catalogue
    from sfbench.report.page import Beside

TIDY_FORMATS = ("csv", "json")
MOST_IN_TERMINAL = 500
"""Most rows of a terminal table."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to show of the store, and how; empty `models` or `res`: all."""

    form: str
    model: str | None
    res: str | None
    tidy: bool
    html: Path | None
    training: tuple[Path, ...] = ()
    origins: tuple[Origin, ...] = OWN


def show(store: Path, wanted: Wanted) -> Exit:
    """Print the stored records in the wanted format, or write a page; 5 when there is nothing."""
    if wanted.training and wanted.html is None:
        msg = "--training appears only on the HTML page; also give --html FILE"
        raise UsageError(msg)
    if wanted.html is not None and not wanted.html.absolute().parent.is_dir():
        msg = f"--html {wanted.html}: folder {wanted.html.parent} does not exist"
        raise UsageError(msg)
    found = selected(store, wanted)
    if found is None:
        return Exit.NOTHING_MEASURED
    if wanted.html is not None:
        write_page(page_of(store, wanted, found), wanted.html)
        return Exit.OK
    notes = [f"{found.older} older or repeated records are not shown"] if found.older else []
    show_as(wanted, found.stored.found.of(found.places), notes)
    return Exit.OK


@dataclasses.dataclass(frozen=True, slots=True)
class Selected:
    """What a store holds, the positions of what is wanted, and how many older records there are."""

    stored: Indexed
    places: np.ndarray
    older: int


def selected(store: Path, wanted: Wanted) -> Selected | None:
    """Return what is wanted of a store; None, and a hint, where there is nothing."""
    bar = PassProgress(sys.stderr, live=sys.stderr.isatty(), quiet=False)
    stored = indexed(Store(store), bar)
    bar.clear()
    for bad in stored.unreadable:
        print(f"warning: {bad.path}: {bad.reason}: left out", file=sys.stderr)
    heads = stored.found.heads
    wished = np.flatnonzero(heads["origin"].isin(wanted.origins))
    places = wished[frame.newest(heads.iloc[wished])]
    models = model_names(wanted.model) if wanted.model else []
    there = sorted(set(heads["model"].iloc[places]))
    for name in set(models) - set(there):
        known = ", ".join(there) or "none"
        print(f"warning: no record of model {name}; there are {known}", file=sys.stderr)
    older = len(wished) - len(places)
    places = places[matching(heads.iloc[places], models, wanted.res)]
    if not len(places):
        hint = "no record matches" if len(heads) else "measure with sfbench run --model NAME"
        print(f"nothing to show in {store / 'runs'}: {hint}", file=sys.stderr)
        return None
    return Selected(stored, places, older)


def page_of(store: Path, wanted: Wanted, found: Selected, *, live: bool = False) -> str:
    """Return the page; whole records are opened only for rows that fit on it."""
    from sfbench.report.page import MOST_RECORDS, left_out  # jinja2 and a renderer come with it

    heads, places = found.stored.found.heads, found.places
    recent = places[frame.most_recent(heads.iloc[places], MOST_RECORDS)]
    notes = left_out(len(places) - len(recent))
    return page_text(found.stored.records(recent), store, wanted.training, notes, live=live)


def serve(store: Path, wanted: Wanted, port: int) -> Exit:
    """Serve the page until Ctrl-C; it follows the store."""
    from sfbench.cli import serving

    def make() -> str | None:
        if Store(store).is_empty(wanted.origins):
            return None
        found = selected(store, wanted)
        return None if found is None else page_of(store, wanted, found, live=True)

    return serving.serve(store, port, make)


def verdicts_and_page(store: Path) -> tuple[Sequence[tuple[str, str]], str]:
    """Return the verdicts on one's own records in a store that has some, and their page."""
    from sfbench.report.headline import headline

    wanted = Wanted(form="table", model=None, res=None, tidy=False, html=None)
    found = selected(store, wanted)
    assert found is not None  # noqa: S101  # the caller has just stored some
    rows = paired(frame.summary(found.stored.found.of(found.places)))
    options = options_of(rows["model"].unique(), defaults.catalogue([], []))
    return headline(rows, defaults=options).verdicts, page_of(store, wanted, found)


def matching(heads: pd.DataFrame, models: Sequence[str], res: str | None) -> np.ndarray:
    """Return which rows have these models and resolutions (all if none are given)."""
    kept = np.ones(len(heads), dtype=bool)
    if models:
        kept &= heads["model"].isin(models).to_numpy()
    if res:
        wanted = set(parse_sizes(res))
        pairs = zip(heads["resolution"], heads["width"], strict=True)
        kept &= np.array(
            [size_of({"resolution": side, "width": width}) in wanted for side, width in pairs],
            dtype=bool,
        )
    return kept


def show_as(wanted: Wanted, found: Measurements, notes: Sequence[str]) -> None:
    """Print measurements in the wanted format."""
    tidy = wanted.tidy and wanted.form in TIDY_FORMATS
    rows = frame.tidy(found) if tidy else paired(frame.summary(found))
    match wanted.form:
        case "csv":
            sys.stdout.write(frame.as_csv(rows))
        case "json":
            rows.to_json(sys.stdout, orient="records", indent=1)
            print()
        case "md":
            sys.stdout.write(table.markdown(rows))
        case "tex":
            from sfbench.report.latex import latex

            sys.stdout.write(latex(rows))
        case _:
            print_rows(rows, notes)


def print_rows(rows: pd.DataFrame, notes: Sequence[str]) -> None:
    """Print the terminal table; with too many rows, only the newest."""
    left_out = max(len(rows) - MOST_IN_TERMINAL, 0)
    if left_out:
        newest = rows["started"].sort_values(kind="stable").index[left_out:]
        rows = rows.loc[sorted(newest)]
        how = "select with --model and --res, or use --format csv for all"
        notes = [*notes, f"{left_out:,} older rows are not shown: {how}"]
    screen = console()
    screen.print(table.terminal(rows, notes, screen.width))


def chosen(records: Sequence[Record], models: Sequence[str], sizes: Sequence[Size]) -> list[Record]:
    """Return the records of these models and resolutions (all if none are given)."""
    return [
        record
        for record in records
        if (not models or record.case["model"] in models)
        and (not sizes or size_of(record.case) in sizes)
    ]


def write_page(text: str, target: Path) -> None:
    """Write the HTML page and print its path."""
    try:
        write_whole(target, text)
    except OSError as error:
        msg = f"--html {target}: cannot be written ({error.strerror})"
        raise UsageError(msg) from None
    print(target.absolute())


def page_text(
    records: Sequence[Record],
    store: Path,
    training: Sequence[Path] = (),
    notes: Sequence[str] = (),
    *,
    live: bool = False,
) -> str:
    """Return the HTML page of records, with the pictures and training runs of their store.

    `training`: folders of further runs; `notes`: lines to show on the page.
    """
    from sfbench.report.page import page  # jinja2 and a renderer come with it

    catalogue = defaults.catalogue([], [])
    shown = beside(records, store, catalogue, training, notes)
    return page(records, shown, "sfbench report", live=live)


def beside(
    records: Sequence[Record],
    store: Path,
    catalogue: Catalogue,
    training: Sequence[Path] = (),
    notes: Sequence[str] = (),
) -> Beside:
    """Return what a page shows beside these records of a store."""
    from sfbench.report.page import Beside  # jinja2 and a renderer come with it

    return Beside(
        options=options_of({record.case["model"] for record in records}, catalogue),
        albums=albums(store, [record.case for record in records]),
        runs=[
            *runs_of_store(store),
            *(run for folder in training for run in training_runs(folder)),
        ],
        notes=notes,
    )


def options_of(models: Iterable[str], catalogue: Catalogue) -> dict[str, dict[str, Any]]:
    """Return the default options of those of the models that are installed here."""
    return {
        name: {option.name: option.default for option in model.options}
        for name in models
        if (model := catalogue.offered(name)) is not None
    }


def print_table(records: Sequence[Record], notes: Sequence[str]) -> None:
    """Print these records as the terminal table."""
    if records:
        print_rows(paired(frame.summary(measurements(records))), notes)
