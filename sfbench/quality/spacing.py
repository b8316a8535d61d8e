"""How far each real image is from its nearest other one, kept beside its features."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sfbench.data.array_files import ArrayFileError, read_arrays
from sfbench.store.whole_file import whole_file

NAME = "spacing"
Distances = NDArray[np.float64]
Numbers = NDArray[np.int64]


@dataclasses.dataclass(frozen=True, slots=True)
class KeptSpacing:
    """Distances of `count` real images in an archive of arrays; NaN where nobody needed one so far.

    A damaged file, or one of another number of images, counts as empty; one that cannot be written
    is left.
    """

    file: Path
    count: int

    def of(self, rows: Numbers, measured: Callable[[Numbers], Distances]) -> Distances:
        """Return the distances of some rows; `measured` gives those that are not kept."""
        kept = self.read()
        missing = rows[np.isnan(kept[rows])]
        if len(missing):
            kept[missing] = measured(missing)
            try:
                with whole_file(self.file) as file:
                    np.savez(file, spacing=kept)
            except OSError:
                pass  # they are measured again
        return kept[rows]

    def read(self) -> Distances:
        """Return what is kept."""
        try:
            found = read_arrays(self.file, NAME)[NAME]
        except (OSError, KeyError, ArrayFileError):
            found = np.empty(0)
        if found.shape != (self.count,) or found.dtype != np.float64:
            return np.full(self.count, np.nan)
        return np.where(np.isfinite(found) & (found >= 0), found, np.nan)
