"""Write the tables of docs/metrics.md and docs/steps.md: python scripts/write_pages.py."""

from __future__ import annotations

from pathlib import Path

from sfbench.trial import steps_page
from sfbench.values import metrics

DOCS = Path(__file__).parents[1] / "docs"
TABLES = {
    "metrics.md": (f"## {metrics.FAMILIES[0].capitalize()}", metrics.markdown()),
    "steps.md": ("| # |", steps_page.markdown()),
}

for name, (start, table) in TABLES.items():
    page = DOCS / name
    head = page.read_text(encoding="utf-8").partition(start)[0]
    page.write_text(head + table, encoding="utf-8")
