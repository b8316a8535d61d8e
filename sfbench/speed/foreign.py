"""What is known of a model that torch does not hold: counted in its file."""

from __future__ import annotations

from sfbench.api.protocols import ForeignRuntime
from sfbench.values.records import Reading


def foreign_reading(metric: str, value: int | None, generator: ForeignRuntime) -> Reading:
    """Return a number of the model's file, or null where the file does not say."""
    if value is None:
        return Reading(metric=metric, reason="its file does not say")
    return Reading(
        metric=metric, value=value, how={"counted": f"in its file ({generator.runtime})"}
    )
