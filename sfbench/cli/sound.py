"""Checks of a request that run before anything heavy is imported."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from sfbench.api.errors import DataError, UsageError
from sfbench.cli import defaults
from sfbench.data.sources import check_there
from sfbench.store.runs import ANY, Origin, Store

MEANT = {
    "data": {"shapes": "the built-in images"},
    "reference": {"shapes": "the built-in images"},
    "images": {"shapes": "the built-in images"},
    "weights": {"random": "random weights", "auto": "shipped weights, or else random ones"},
}
"""Names that are built in, and what they mean."""
FORMATS = ("table", "csv", "json", "md", "tex")


def check_images(**flags: str | None) -> None:
    """Raise UsageError for a flag that names neither built-in images nor a file or folder."""
    for name, text in flags.items():
        if text:
            check_there(text, "SRC" if name == "source" else f"--{name}")


def note_clashes(**flags: str | None) -> None:
    """Say where a built-in name is also that of a file or folder here: the built-in is meant."""
    for name, text in flags.items():
        if text in MEANT.get(name, {}) and Path(str(text)).exists():
            what = MEANT[name][str(text)]
            print(
                f"note: --{name} {text} means {what}; for the file or folder here give ./{text}",
                file=sys.stderr,
            )


def check_file(path: Path, what: str) -> None:
    """Raise DataError for a path that does not exist."""
    if not path.exists():
        msg = f"{path}: no such file or folder; expected {what}"
        raise DataError(msg)


def check_models(names: Sequence[str], given: Sequence[str], disabled: Sequence[str]) -> None:
    """Raise UsageError or PluginError for a model offered by no plugin, or by several."""
    catalogue = defaults.catalogue(given, disabled)
    for name in names:
        catalogue.model(name)


def check_format(form: str) -> None:
    """Raise UsageError for an unknown report format."""
    if form not in FORMATS:
        msg = f"--format {form}: expected {', '.join(FORMATS)}"
        raise UsageError(msg)


def check_sides(sides: Sequence[str], store: Path) -> None:
    """Raise UsageError naming a side of a stored comparison that is no file, folder or model."""
    if all(Path(side).exists() for side in sides):
        return
    models = sorted({str(record.case["model"]) for record in Store(store).load(ANY)[0]})
    for side in sides:
        if side not in models and not Path(side).exists():
            msg = (
                f"{side}: neither a file or folder of records nor a model measured in {store}, "
                f"which holds {', '.join(models) or 'no records'}"
            )
            raise UsageError(msg)


def holds_records(store: Path, origins: Sequence[Origin]) -> bool:
    """Return whether a store holds any record file of these origins; print a hint if not."""
    if not Store(store).is_empty(origins):
        return True
    print(
        f"nothing to show in {store / 'runs'}: measure with sfbench run --model NAME{others(store)}",
        file=sys.stderr,
    )
    return False


def others(store: Path) -> str:
    """Return the flags that show the records of others which a store holds; empty without any."""
    there = [f"--{origin}" for origin in ANY[1:] if not Store(store).is_empty((origin,))]
    return f", or show those of others with {' '.join(there)}" if there else ""
