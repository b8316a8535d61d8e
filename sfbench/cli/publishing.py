"""Behind `sfbench site`: a store as a folder of pages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sfbench.api.errors import DataError
from sfbench.cli import defaults
from sfbench.cli.exits import Exit
from sfbench.cli.reporting import beside
from sfbench.report.site import About, site
from sfbench.store.runs import Origin, Store
from sfbench.store.whole_file import write_whole
from sfbench.values.messages import counted


def publish(store: Path, out: Path, title: str, origins: Sequence[Origin]) -> Exit:
    """Write the pages into `out` and print the path of the first; 5 when there is nothing to show.

    Files of the same names are replaced, others left alone.
    """
    records, unreadable = Store(store).load(origins)
    if unreadable:
        msg = f"{unreadable[0].path}: {unreadable[0].reason}; fix or remove it, then build the site"
        raise DataError(msg)
    if not records:
        print(f"nothing to show in {store}")
        return Exit.NOTHING_MEASURED
    catalogue = defaults.catalogue([], [])
    about = {
        name: About(
            summary=model.summary,
            facts={
                name: text
                for name, text in (
                    ("citation", model.citation),
                    ("license", model.license),
                    ("plugin", model.plugin),
                )
                if text
            },
        )
        for name in {record.case["model"] for record in records}
        if (model := catalogue.offered(name)) is not None
    }
    count = 0
    try:
        for name, text in site(records, beside(records, store, catalogue), about, title):
            path = out / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, text)
            count += 1
    except OSError as error:
        msg = f"{out}: cannot be written ({error.strerror})"
        raise DataError(msg) from None
    print(f"{(out / 'index.html').absolute()}")
    print(f"{counted(count, 'file')} of {counted(len(records), 'record')}")
    return Exit.OK
