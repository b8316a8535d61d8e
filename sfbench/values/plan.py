"""What is to be measured: a plan of cases, and the numbers that a command line names them by."""

from __future__ import annotations

import dataclasses

from sfbench.api.errors import UsageError
from sfbench.values.case import Case

MOST_IMAGES = 4096
"""Of one picture."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Cases, how many new processes measure each, and the time limit of one."""

    cases: tuple[Case, ...]
    trials: int = 1
    timeout_seconds: float = 3600.0

    def told_apart(self, case: Case) -> str:
        """Return the options in which a case differs from others of its model; empty for none."""
        others = [one.options for one in self.cases if one.model == case.model]
        pairs = (
            f"{name}={value}"
            for name, value in case.options.items()
            if any(one.get(name) != value for one in others)
        )
        return ", ".join(pairs)


def parse_seeds(text: str) -> list[int]:
    """Return the seeds that "0-15" or "1,5,7" stand for; raises UsageError for anything else."""
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        ends = [first, last] if dash else [first, first]
        if not all(end.strip().isdecimal() for end in ends) or int(ends[1]) < int(ends[0]):
            msg = f"--seeds {text}: expected whole numbers, e.g. 0-15 or 1,5,7"
            raise UsageError(msg)
        if int(ends[1]) - int(ends[0]) >= MOST_IMAGES:
            msg = f"--seeds {text}: expected at most {MOST_IMAGES} images"
            raise UsageError(msg)
        seeds += range(int(ends[0]), int(ends[1]) + 1)
    return seeds
