"""The page of metrics in the documentation, from their declarations."""

from __future__ import annotations

from sfbench.values.metric import FAMILIES
from sfbench.values.metrics import METRICS


def markdown() -> str:
    """Return the declarations as the tables of `docs/metrics.md`, one per family."""
    lines: list[str] = []
    for family in FAMILIES:
        lines += ["", f"## {family.capitalize()}", ""]
        lines += [
            "| metric | unit | better | description | needs |",
            "| --- | --- | --- | --- | --- |",
        ]
        for metric in METRICS:
            if metric.family == family:
                name = f"`{metric.name}[...]`" if metric.bracketed else f"`{metric.name}`"
                cells = (name, metric.unit, metric.better or "", metric.text, metric.needs)
                lines.append(f"| {' | '.join(cells)} |".replace("  |", " |"))
    return "\n".join(lines[1:]) + "\n"
