"""Figures as files: the suffix decides the format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sfbench.api.errors import UsageError

SUFFIXES = (".svg", ".png", ".html", ".json")


def check_figure(path: Path | None) -> None:
    """Raise UsageError for a file name of no known format, before anything is measured."""
    if path is not None and path.suffix not in SUFFIXES:
        msg = f"--figure {path}: expected a file name that ends in {', '.join(SUFFIXES)}"
        raise UsageError(msg)


def write_chart(chart: Any, path: Path) -> None:
    """Write an Altair chart; an HTML file holds all it needs. Raises UsageError as `check_figure`."""
    check_figure(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {"scale_factor": 2} if path.suffix == ".png" else {}
    if path.suffix == ".html":
        options = {"inline": True}
    chart.save(str(path), **options)
