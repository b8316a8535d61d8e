"""Floating-point operations of a run: each phase is counted once, when it first runs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from sfbench.speed.operations import Counter


class Operations:
    """Adds up the operations of phases; a multiply-add counts as two."""

    def __init__(self) -> None:
        self.of_phase: dict[str, int] = {}
        self.sum = 0

    @contextlib.contextmanager
    def counted(self, phase: str) -> Iterator[None]:
        """Count what runs inside, the first time; after that add what was counted then."""
        if phase in self.of_phase:
            yield
        else:
            with Counter() as counter:
                yield
            self.of_phase[phase] = counter.total
        self.sum += self.of_phase[phase]

    def taken(self) -> int:
        """Return the sum since the last call."""
        found, self.sum = self.sum, 0
        return found
