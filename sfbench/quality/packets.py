"""The Frechet wavelet distance, FWD (Veeramacheneni et al., arXiv 2312.15289): no network.

Each color channel is split by the full tree of Haar wavelet packets of level 4, into 256 bands of
frequencies; the distance is the mean over the bands of the squared Frechet distance of what
they hold: C H W / 256 numbers of each image.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sfbench.quality.frechet import frechet_distance
from sfbench.quality.influences import Array
from sfbench.quality.one_size import OneSizeExtractor, misfit
from sfbench.quality.published import PACKETS
from sfbench.quality.statistics import Moments, Rows, moments_of
from sfbench.quality.telling import FEW, Telling
from sfbench.quality.uncertainty import (
    ENOUGH_FOR_BIAS,
    Estimate,
    error_of,
    frechet_influences,
    richardson_frechet,
)
from sfbench.values.records import Reading

LEVEL = 4
BANDS = 4**LEVEL
STEP = 2**LEVEL
SMALL = 64


class PacketExtractor(OneSizeExtractor):
    """Images [batch, 3, height, width] in 0..255 -> packets [batch, 256 * 3 * H/16 * W/16]."""

    def __init__(self) -> None:
        super().__init__(PACKETS, wavelet="haar", level=LEVEL)

    def of(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch features"]:
        """Return the packets of images in 0..1, band after band; NaN unless 16 divides both sides."""
        if images.shape[2] % STEP or images.shape[3] % STEP:
            return images.new_full((len(images), BANDS), torch.nan)
        return wavelet_packets(images).flatten(1)


def wavelet_packets(
    images: Float[Tensor, "batch channels height width"],
) -> Float[Tensor, "batch bands channels rows columns"]:
    """Return all Haar packets of level 4, orthonormal; the order of the bands is that of the splits."""
    bands = images[:, None]
    for _ in range(LEVEL):
        for dim in (3, 4):
            even, odd = (
                bands.index_select(
                    dim, torch.arange(start, bands.shape[dim], 2, device=bands.device)
                )
                for start in (0, 1)
            )
            bands = torch.cat([even + odd, even - odd], dim=1)
        bands = bands / 2
    return bands


@dataclasses.dataclass(frozen=True, slots=True)
class Band:
    """One band of both sets: features [images, D] and their moments."""

    generated: Rows
    real: Rows
    own: Moments
    theirs: Moments

    def influences(self) -> tuple[Array, Array]:
        """Return the influence of each image of both sets."""
        own, theirs = frechet_influences(self.generated, self.own, self.real, self.theirs)
        assert theirs is not None  # noqa: S101  # the real images are there
        return own, theirs


def bands_of(generated: Rows, real: Rows) -> Iterator[Band]:
    """Yield both sets band by band."""
    width = generated.shape[1] // BANDS
    for start in range(0, generated.shape[1], width):
        mine, theirs = (
            np.ascontiguousarray(rows[:, start : start + width]) for rows in (generated, real)
        )
        yield Band(mine, theirs, moments_of(mine), moments_of(theirs))


def wavelet_distance(generated: Rows, real: Rows) -> float:
    """Return the FWD of packets [images, 256 * D] of two sets."""
    return mean([frechet_distance(one.own, one.theirs) for one in bands_of(generated, real)])


def packet_readings(told: Telling) -> Iterator[Reading]:
    """Yield the FWD with its standard error and debiased value."""
    metric, real = told.names.frechet, told.reference.features
    refusal = misfit(told.features, real)
    if refusal is not None:
        yield told.null(metric, divided() if told.features.shape[1] == BANDS else refusal)
        return
    assert real is not None  # noqa: S101  # else refused
    fewest, width = min(told.count, len(real)), told.features.shape[1] // BANDS
    if fewest < FEW:
        yield told.few(metric, fewest, FEW)
        return
    kept, error = None, None
    with one_thread(width):
        bands = list(bands_of(told.features, real))
        distances = [frechet_distance(one.own, one.theirs) for one in bands]
        value, debiased = mean(distances), None
        if fewest >= ENOUGH_FOR_BIAS * width:
            pairs = zip(bands, distances, strict=True)
            debiased = mean([richardson_frechet(b.generated, b.real, d) for b, d in pairs])
        if fewest > max(width, FEW):
            # The influence of an image on a mean of distances is the mean of its influences.
            sides = zip(*(one.influences() for one in bands), strict=True)
            own, theirs = (np.mean(side, axis=0) for side in sides)
            error = error_of(own, theirs)
            kept = told.kept(value, (own, theirs), debiased)
    yield told.estimated(
        metric,
        Estimate(value, error),
        interval="influence of each image; both sets"
        if error is not None
        else f"needs more than {width} images",
        debiased=debiased,
        influences=kept,
        ddof=1,
        bands=BANDS,
        warning=None if fewest > width else "fewer images than features of a band: biased upward",
    )


@contextlib.contextmanager
def one_thread(width: int) -> Iterator[None]:
    """Compute with one thread, if the matrices are small: handing them out costs more than they do."""
    threads = torch.get_num_threads()
    if width <= SMALL:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def divided() -> str:
    """Return why there are no packets."""
    return f"wavelet packets of level {LEVEL} need images whose sides {STEP} divides; give --res"


def mean(values: Sequence[float]) -> float:
    """Return the mean."""
    return math.fsum(values) / len(values)
