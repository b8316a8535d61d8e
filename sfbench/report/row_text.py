"""A row in words: weights, badges, headings of the tables it stands in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from sfbench.report.comparable import BASIS, PLACE
from sfbench.values.case import weights_words


def weights_of(row: Any) -> str:
    """Return where the weights come from, with the digest of a file."""
    words = weights_words(row["weights"])
    words = words if row["weights"] == "none" else words.removesuffix(" weights")
    content = row["weights_sha256"]
    return f"{words} {content[:8]}" if words == "file" and isinstance(content, str) else words


def badges(row: Any) -> str:
    """Return how the row was made: weights, precision, mode, batch size, trials."""
    words = [weights_of(row), row["dtype"], row["mode"], f"b{row['batch']}"]
    if row["trials"] > 1:
        words.append(f"x{row['trials']}")
    return " ".join(words)


def described(row: Any) -> str:
    """Return the badges, and the options in which the model's rows differ."""
    return f"{badges(row)} {row['variant']}".strip()


def same_basis(frame: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Yield the rows whose quality numbers are comparable, machine by machine."""
    for _, part in frame.groupby([*PLACE, BASIS], sort=False, dropna=False):
        yield part


def heading(part: pd.DataFrame, *, machine: bool = False) -> str:
    """Return the basis of a part's numbers, and the machine if there are several."""
    quality = part["quality"].iloc[0]
    extractor = quality.partition(",")[0]
    name = "FID" if extractor == "inception-v3" else f"FD = fd[{extractor}]"
    lines = f"{name}\n{quality.partition(', ')[2]}" if quality else "quality not measured"
    place = f"{part['device'].iloc[0]}"
    if machine:
        origin = part["origin"].iloc[0]
        place += f" of machine {part['machine'].iloc[0]}"
        place += "" if origin == "own" else f", {origin} records"
    return f"{place} · {lines}"


def is_several(frame: pd.DataFrame) -> bool:
    """Return whether rows are of several machines or of several origins."""
    return len(frame[["machine", "origin"]].drop_duplicates()) > 1
