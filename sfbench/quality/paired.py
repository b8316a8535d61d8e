"""The change of a Frechet distance between two generators on the same seeds and real images."""

from __future__ import annotations

from sfbench.api.errors import DataError
from sfbench.quality.frechet import frechet_distance
from sfbench.quality.influences import Difference, Influences, difference
from sfbench.quality.statistics import Rows, moments_of
from sfbench.quality.uncertainty import (
    ENOUGH_FOR_BIAS,
    frechet_influences,
    richardson_frechet,
)


def paired_change(candidate: Rows, baseline: Rows, real: Rows) -> Difference:
    """Return the change from features [images, D]: row i of both sides is of the same seed.

    The baseline is A, the candidate B: positive is worse. Raises DataError for sides of different
    length, or with fewer than three images.
    """
    if len(candidate) != len(baseline) or min(len(candidate), len(real)) <= 2:  # noqa: PLR2004
        msg = f"{len(candidate)} and {len(baseline)} images; expected pairs, three or more"
        raise DataError(msg)
    return difference(influences_of(baseline, real), influences_of(candidate, real))


def influences_of(rows: Rows, real: Rows) -> Influences:
    """Return the Frechet distance of a side, debiased if there are enough images, and influences."""
    moments, reference = moments_of(rows), moments_of(real)
    plain = frechet_distance(moments, reference)
    enough = min(len(rows), len(real)) >= ENOUGH_FOR_BIAS * rows.shape[1]
    own, theirs = frechet_influences(rows, moments, real, reference)
    return Influences(
        value=plain,
        own=own,
        real=theirs,
        images="seeds",
        reference="real",
        debiased=richardson_frechet(rows, real, plain) if enough else None,
    )
