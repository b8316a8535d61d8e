"""Behind `sfbench demo`: a few cases in a store of their own, and their page."""

from __future__ import annotations

from pathlib import Path

from sfbench.cli import defaults, measuring
from sfbench.cli.exits import Exit
from sfbench.cli.measuring import Settings
from sfbench.values.case import Request

SUITE = "demo"
PAGE = "report.html"


def show(scale: str, settings: Settings) -> Exit:
    """Measure what is missing, print the table and the verdicts, and write the page."""
    flags = Request(model="", device=defaults.device_flag("auto"))
    done = measuring.carried_out(measuring.requests(flags, SUITE, scale), settings)
    if done is None:
        return Exit.INTERRUPTED
    measuring.show(done.records, settings)
    code = measuring.exit_code(done.records)
    if code is not Exit.NOTHING_MEASURED and not settings.as_json:
        write_page(settings.store)
    return code


def write_page(store: Path) -> None:
    """Write the page of everything in the store; print its verdicts, and last its path."""
    from sfbench.cli import reporting  # pandas comes with it

    verdicts, text = reporting.verdicts_and_page(store)
    for topic, told in verdicts:
        print(f"{topic}: {told}")
    print("\nOpen the page in a browser:")
    reporting.write_page(text, store / PAGE)
