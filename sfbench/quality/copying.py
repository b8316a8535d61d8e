"""Readings of how generated images lie among real ones: signs of copying, and realism."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sfbench.quality.frechet import frechet_distance
from sfbench.quality.influences import NORMAL_95
from sfbench.quality.kernel import MOST_ROWS, at_most
from sfbench.quality.memorization import FAR, memorization_distance, nearness
from sfbench.quality.neighbors import REALISM_K, median_bounds, nearest_real, realism, share
from sfbench.quality.telling import FEW, Telling
from sfbench.values.records import Reading

AUTHENTIC = "farther from its nearest real image than that is from any other real image"
COPIED = "at most a third as far from its nearest real image as from the second nearest"


def copying(told: Telling) -> Iterator[Reading]:
    """Yield the readings that the protocol asks for."""
    more = told.protocol.more
    if more.authenticity or more.copies:
        yield from copies(told)
    if more.memorization:
        yield memorized(told)
    if more.realism:
        yield typical_realism(told)


def copies(told: Telling) -> Iterator[Reading]:
    """Yield two signs of copied training images: authenticity, and the share of near copies."""
    real = told.reference.features
    if real is None or len(real) < FEW:
        reason = "features of at least 2 real images are needed"
        yield told.null(told.names.authenticity, reason)
        return
    found = nearest_real(told.features, real, told.reference.spacing)
    more = told.protocol.more
    rules = {}
    if more.authenticity:
        rules[told.names.authenticity] = found.authentic, AUTHENTIC
    if more.copies:
        rules[told.names.copies] = found.copied, COPIED
    for metric, (marks, rule) in rules.items():
        part = share(int(marks.sum()), len(marks))
        yield told.reading(
            metric,
            part.value,
            low=part.low,
            high=part.high,
            interval="binomial (Wilson)",
            rule=rule,
        )


def memorized(told: Telling) -> Reading:
    """Return the Frechet distance, divided where generated images lie near real ones."""
    metric, real = told.names.memorization, told.reference.features
    if real is None or min(told.count, len(real)) < FEW:
        return told.null(metric, "features of at least 2 images of each set are needed")
    near = nearness(told.features, real)
    distance = frechet_distance(told.moments, told.reference.moments)
    value = memorization_distance(distance, near)
    # The Frechet distance's own, scaled; what the nearness varies by is not in it.
    error = told.frechet_error
    half = None if error is None or not value else NORMAL_95 * error * value / distance
    return told.reading(
        metric,
        value,
        low=None if half is None else value - half,
        high=None if half is None else value + half,
        interval=None if half is None else "of the Frechet distance alone",
        cosine_distance=near,
        rule=f"divided by the mean cosine distance where that is below {FAR}",
    )


def typical_realism(told: Telling) -> Reading:
    """Return the median realism of the generated images; above 1 half lie in the manifold."""
    metric, real = told.names.realism, told.reference.features
    if real is None or len(real) <= REALISM_K:
        return told.null(metric, f"features of more than {REALISM_K} real images are needed")
    generated, others = at_most(told.features, MOST_ROWS), at_most(real, MOST_ROWS)
    try:
        found = realism(generated, others, k=REALISM_K, spacing=told.spacing(others))
    except ValueError as error:
        return told.null(metric, str(error))
    good = np.sort(found[~np.isnan(found)])
    if not len(good) or not np.isfinite(np.median(good)):
        return told.null(metric, "half of the images or more equal a real image")
    low, high = median_bounds(good)
    return told.reading(
        metric,
        float(np.median(good)),
        low=low,
        high=high if np.isfinite(high) else None,
        interval="order statistics of the median, infinite on a real image",
        k=REALISM_K,
        rows=[len(generated), len(others)],
        rule="real images with a radius below the median count",
    )
