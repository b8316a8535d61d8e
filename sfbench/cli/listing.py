"""Text of `sfbench list` and `sfbench plugins`. Neither torch nor pandas nor rich is needed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from sfbench.api.errors import UsageError
from sfbench.catalogue.catalogue import Catalogue
from sfbench.data.containers import described
from sfbench.values.metrics import METRICS

SHAPES = {
    "name": "shapes",
    "summary": "built in: shaded colored shapes drawn from a seed, 5 classes, any size",
}
NO_MODELS = "weights, conversion or export only"


def listed(catalogue: Catalogue, what: str, *, as_json: bool) -> str:
    """Return the requested list; raises UsageError for an unknown one."""
    if what not in SHOWN:
        msg = f"list {what}: expected {', '.join(SHOWN)}"
        raise UsageError(msg)
    match what:
        case "models":
            rows = models(catalogue)
        case "weights":
            rows = weights(catalogue)
        case "presets":
            rows = presets(catalogue)
        case "extractors":
            rows = extractors(catalogue)
        case "protocols":
            rows = protocols()
        case "suites":
            rows = suites()
        case "metrics":
            rows = metrics()
        case _:
            rows = [SHAPES, *({"name": name, "summary": text} for name, text in described())]
    if as_json:
        return json.dumps(rows, indent=1, sort_keys=True)
    return columns(
        [row | {"name": row.get("written", row.get("name"))} for row in rows], SHOWN[what]
    )


SHOWN = {
    "models": ("name", "sizes", "summary"),
    "weights": ("name", "px", "here", "reported", "dataset"),
    "presets": ("model", "name", "px", "kimg", "evidence"),
    "data": ("name", "summary"),
    "extractors": ("name", "plugin", "summary"),
    "protocols": ("name", "extractor", "summary"),
    "suites": ("name", "rows", "summary"),
    "metrics": ("name", "unit", "better", "family"),
}


def metrics() -> list[dict[str, Any]]:
    """Return one row per metric."""
    return [
        {
            "name": f"{metric.name}[...]" if metric.bracketed else metric.name,
            "unit": metric.unit,
            "better": metric.better or "",
            "family": metric.family,
            "needs": metric.needs,
            "summary": metric.text,
        }
        for metric in METRICS
        if metric.family != "search"
    ]


def suites() -> list[dict[str, Any]]:
    """Return one row per shipped suite."""
    from sfbench.run.suites import read_suite, shipped_suites  # only where they are listed

    return [
        {
            "name": suite.name,
            "rows": str(len(suite.rows)),
            "summary": suite.title,
            "source": suite.source,
            "titles": [row.title for row in suite.rows],
        }
        for suite in map(read_suite, shipped_suites())
    ]


def extractors(catalogue: Catalogue) -> list[dict[str, Any]]:
    """Return one row per extractor."""
    from sfbench.quality.extractors import offers  # only where they are listed

    return [
        dataclasses.asdict(offer)
        | {"name": f"{offer.name}:{offer.variants}" if offer.variants else offer.name}
        for offer in offers(catalogue.extractors)
    ]


def protocols() -> list[dict[str, Any]]:
    """Return one row per protocol: the whole card."""
    from sfbench.quality.protocols import (  # only where they are listed
        protocol_names,
        read_protocol,
    )

    return [dataclasses.asdict(read_protocol(name)) for name in protocol_names()]


def models(catalogue: Catalogue) -> list[dict[str, Any]]:
    """Return one row per model."""
    return [
        dataclasses.asdict(model) | {"written": model.written, "sizes": sizes(model.resolutions)}
        for model in sorted(catalogue.models, key=lambda model: model.name)
    ]


def presets(catalogue: Catalogue) -> list[dict[str, Any]]:
    """Return one row per way to train."""
    return [
        dict(preset) | {"px": preset["resolution"], "kimg": f"{preset['kimg']:g}"}
        for model in sorted(catalogue.models, key=lambda model: model.name)
        for preset in model.presets
    ]


def sizes(resolutions: Sequence[int]) -> str:
    """Return resolutions in a few characters."""
    return f"{min(resolutions)}-{max(resolutions)}" if resolutions else "any"


def weights(catalogue: Catalogue) -> list[dict[str, Any]]:
    """Return one row per checkpoint card."""
    return [
        dict(card)
        | {
            "px": str(card["resolution"]),
            "here": "yes" if card["file"] else "no",
            "reported": ", ".join(f"{k} {v}" for k, v in card["published"].items()),
        }
        for card in catalogue.checkpoints
    ]


def plugins(catalogue: Catalogue, *, as_json: bool) -> str:
    """Return one row per plugin."""
    rows = [
        dataclasses.asdict(entry)
        | {
            "offers": ", ".join((*entry.models, *entry.extractors)) or NO_MODELS,
            "state": "ok" if entry.problem is None else f"broken: {entry.problem}",
        }
        for entry in catalogue.plugins
    ]
    if as_json:
        return json.dumps(rows, indent=1, sort_keys=True)
    for row in rows:
        row["offers"] = row["state"] if row["problem"] else row["offers"]
    return columns(rows, ("name", "origin", "offers"))


def columns(rows: Sequence[dict[str, Any]], shown: Sequence[str]) -> str:
    """Return the rows as aligned text with a header."""
    cells = [[name.upper() for name in shown]] + [
        [str(row[name]) for name in shown] for row in rows
    ]
    widths = [max(len(line[i]) for line in cells) for i in range(len(shown))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    )
