"""Published models as data: one TOML a model, with what is known of it and how it is known."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any


def read_cards() -> list[dict[str, Any]]:
    """Return the content of every card, in order of file name."""
    files = sorted(Path(__file__).parent.glob("*.toml"))
    return [tomllib.loads(file.read_text(encoding="utf-8")) for file in files]
