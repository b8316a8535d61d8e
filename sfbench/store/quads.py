"""Finished quads of a live comparison, kept until the whole comparison is done."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from sfbench.values.documents import read_document


@dataclasses.dataclass(frozen=True, slots=True)
class Leg:
    """One process's outcome: its side, and its readings by name."""

    side: str
    values: Mapping[str, float]


class KeptQuads:
    """The quads of one pair of cases: a file of one line each, named for all that decides them."""

    def __init__(self, store: Path, name: str) -> None:
        self.path = store / "quads" / f"{name}.jsonl"

    def load(self) -> list[list[Leg]]:
        """Return the quads that are kept, up to the first damaged line."""
        try:
            lines = self.path.read_bytes().splitlines()
        except OSError:
            return []
        found = []
        for line in lines:
            try:
                found.append(read_document(line, list[Leg]))
            except ValueError:
                break
        return found

    def add(self, legs: Sequence[Leg]) -> None:
        """Keep one quad."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps([dataclasses.asdict(leg) for leg in legs]) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def clear(self) -> None:
        """Forget them: the comparison is done."""
        self.path.unlink(missing_ok=True)
