"""Write the generated tables of docs/ in their places: python scripts/write_pages.py."""

from __future__ import annotations

from pathlib import Path

from sfbench.trial import steps_page
from sfbench.values import flags, metrics

DOCS = Path(__file__).parents[1] / "docs"
TABLES = {
    "metrics.md": metrics.markdown(),
    "steps.md": steps_page.markdown(),
    "measuring.md": flags.markdown(),
}


def replaced(text: str, table: str) -> str:
    """Return a page with the table, or all from the first heading on, as the code has it now."""
    first = table.splitlines()[0]
    head, _, rest = text.partition(f"\n{first}\n")
    if first.startswith("#"):
        return f"{head}\n{table}"
    lines = rest.splitlines(keepends=True)
    after = next(
        (place for place, line in enumerate(lines) if not line.startswith("|")), len(lines)
    )
    return f"{head}\n{table}{''.join(lines[after:])}"


for name, table in TABLES.items():
    page = DOCS / name
    page.write_text(replaced(page.read_text(encoding="utf-8"), table), encoding="utf-8")
