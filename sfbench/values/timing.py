"""How long speed is measured: one value, whose defaults are the protocol's."""

from __future__ import annotations

import dataclasses
from typing import Any

from sfbench.api.errors import UsageError

BLOCKS = 12
BLOCK_SECONDS = 0.25
LATENCY_CALLS = 100


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """The settings of a timed trial; deviations from the protocol are listed in its record.

    `warmup_seconds`: least seconds of warm-up before each pass (None: 1 on a CPU, 2 on a GPU);
    `blocks`: timed blocks per region; `block_seconds`: least seconds of a block;
    `latency_calls`: calls in the latency pass.
    """

    warmup_seconds: float | None = None
    blocks: int = BLOCKS
    block_seconds: float = BLOCK_SECONDS
    latency_calls: int = LATENCY_CALLS

    def changed(self) -> dict[str, Any]:
        """Return the settings that differ from the protocol's."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {
            name: value for name, value in values.items() if value != getattr(STANDARD_TIMING, name)
        }

    @property
    def is_protocol(self) -> bool:
        """Whether every setting is the protocol's."""
        return not self.changed()


STANDARD_TIMING = Timing()
NAMES = tuple(field.name for field in dataclasses.fields(Timing))


def timing_of(**given: float | None) -> Timing:
    """Return the settings that are given, the protocol's for None.

    Raises UsageError for an invalid duration or count.
    """
    for name, value in given.items():
        if value is not None and not 0 < value < float("inf"):
            msg = f"--{name.replace('_', '-')} {value}: expected a number above 0"
            raise UsageError(msg)
    return Timing(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]  # by name
