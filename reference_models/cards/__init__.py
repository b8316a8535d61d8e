"""Weights as data: one TOML a file, published or shipped, with what is known of it and how."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parent.parent


def read_cards(models: Sequence[str]) -> list[dict[str, Any]]:
    """Return the content of the cards of these models, in order of file name.

    `file`, where there is one, is the path of the shipped weights.
    """
    files = sorted(Path(__file__).parent.glob("*.toml"))
    cards = [tomllib.loads(file.read_text(encoding="utf-8")) for file in files]
    for card in cards:
        if "file" in card:
            card["file"] = PACKAGE / card["file"]
    return [card for card in cards if card["model"] in models]
