"""Numbers as text, for every table."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

ABSENT = "-"


def number(value: Any, digits: int = 3) -> str:
    """Return a number with about `digits` significant digits, or a dash if there is none."""
    if not isinstance(value, Real) or math.isnan(value):
        return ABSENT
    if value == 0 or not math.isfinite(value):
        return f"{value:g}" if value else "0"
    magnitude = math.floor(math.log10(abs(value)))
    if magnitude < -digits:
        return f"{value:.{digits - 1}e}"
    return f"{value:,.{max(0, digits - 1 - magnitude)}f}"
