"""The change of a Frechet distance between two generators on the same seeds and real images.

Both distances use the same real images, and image i of both comes from seed i: what seed and data do
to one, they do to the other, too. So the difference is known much better than either distance. Its
standard error comes from the influence of each seed, and of each real image, on the difference (see
`uncertainty.frechet_error`).
"""

from __future__ import annotations

import dataclasses

import numpy as np

from sfbench.api.errors import DataError
from sfbench.quality.frechet import frechet_distance, optimal_maps
from sfbench.quality.statistics import Moments, Rows, moments_of
from sfbench.quality.uncertainty import NORMAL_95, influences

POWER_80 = 0.8416212335729143
"""Standard normal quantile: what is this much beyond the margin is seen in four of five cases."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PairedChange:
    """Distance of the candidate less that of the baseline; positive is worse.

    `error`: the standard error of the change. `images`: pairs of the same seed.
    """

    candidate: float
    baseline: float
    error: float
    images: int

    @property
    def change(self) -> float:
        """The change of the distance."""
        return self.candidate - self.baseline

    @property
    def low(self) -> float:
        """The lower end of the 95 % interval of the change."""
        return self.change - NORMAL_95 * self.error

    @property
    def high(self) -> float:
        """The upper end."""
        return self.change + NORMAL_95 * self.error

    @property
    def smallest(self) -> float:
        """The change that would be told from none in four of five such comparisons."""
        return (NORMAL_95 + POWER_80) * self.error


def paired_change(candidate: Rows, baseline: Rows, real: Rows) -> PairedChange:
    """Return the change from features [images, D]: row i of both sides is of the same seed.

    Raises DataError for sides of different length, or with fewer than three images.
    """
    if len(candidate) != len(baseline) or min(len(candidate), len(real)) <= 2:  # noqa: PLR2004
        msg = f"{len(candidate)} and {len(baseline)} images; expected pairs, three or more"
        raise DataError(msg)
    reference = moments_of(real)
    sides = [(rows, moments_of(rows)) for rows in (candidate, baseline)]
    own, others = zip(*(both_influences(*side, real, reference) for side in sides), strict=True)
    variance = (own[0] - own[1]).var(ddof=1) / len(candidate)
    variance += (others[0] - others[1]).var(ddof=1) / len(real)
    first, second = (frechet_distance(moments, reference) for _, moments in sides)
    return PairedChange(
        candidate=first, baseline=second, error=float(np.sqrt(variance)), images=len(candidate)
    )


def both_influences(
    rows: Rows, moments: Moments, real: Rows, reference: Moments
) -> tuple[np.ndarray, np.ndarray]:
    """Return the influence of each generated and of each real image on one side's distance."""
    there, back = optimal_maps(moments, reference)
    return (
        influences(rows, moments, reference.mean, there),
        influences(real, reference, moments.mean, back),
    )
