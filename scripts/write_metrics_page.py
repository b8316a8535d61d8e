"""Write the tables of docs/metrics.md from the declarations: python scripts/write_metrics_page.py."""

from __future__ import annotations

from pathlib import Path

from sfbench.values.metrics import FAMILIES, markdown

PAGE = Path(__file__).parents[1] / "docs" / "metrics.md"

text = PAGE.read_text(encoding="utf-8")
head = text.partition(f"## {FAMILIES[0].capitalize()}")[0]
PAGE.write_text(head + markdown(), encoding="utf-8")
