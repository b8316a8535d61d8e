"""How many images quality is measured on where no number is given."""

from __future__ import annotations

from sfbench.data.sources import BUILT_IN
from sfbench.hardware.backend import Backend
from sfbench.quality.published import EMBEDDED
from sfbench.values.case import Source

DRAWN = 1024
"""Of a built-in set, which is drawn: more would cost time and decide nothing."""
WITH_EMBEDDED = 512
"""With the embedded extractor, whose cost is small: its 256 features give an interval from 257 on."""


def default_samples(backend: Backend, data: Source, extractor: Source) -> int:
    """Return the number of images per set."""
    usual = backend.default_samples
    if extractor.kind == EMBEDDED:
        usual = max(usual, WITH_EMBEDDED)
    return min(usual, DRAWN) if data.kind in BUILT_IN else usual
