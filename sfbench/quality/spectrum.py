"""The slope of the power spectrum: how fast contrast falls from coarse to fine detail. No network.

Power of natural images falls about as one over the square of the frequency (Field 1987); generators
with too little or too much fine detail differ from their data in this slope (Durall et al., arXiv
2003.01826).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sfbench.quality.influences import Array
from sfbench.quality.one_size import OneSizeExtractor, misfit
from sfbench.quality.published import SPECTRUM
from sfbench.quality.statistics import Rows
from sfbench.quality.telling import Telling
from sfbench.quality.uncertainty import Estimate, error_of
from sfbench.values.records import Reading

LUMA = (0.299, 0.587, 0.114)
"""Of Rec. ITU-R BT.601."""
FIRST = 2
"""The lowest frequency of the line, in cycles a side: the window hides what is below."""
LEAST_RINGS = 4


class SpectrumExtractor(OneSizeExtractor):
    """Images [batch, 3, height, width] in 0..255 -> power [batch, min(H, W) / 2] by frequency.

    Frequencies are 1, 2, ... cycles over the shorter side, in any direction.
    """

    def __init__(self) -> None:
        super().__init__(SPECTRUM, window="hann")

    def of(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch features"]:
        """Return the mean power by frequency of the luminance of images in 0..1."""
        height, width = int(images.shape[2]), int(images.shape[3])
        weights = torch.tensor(LUMA, dtype=torch.float64, device=images.device)
        gray = torch.einsum("bchw,c->bhw", images.double(), weights)
        gray = gray - gray.mean(dim=(1, 2), keepdim=True)
        window = torch.outer(hann(height), hann(width)).to(images.device)
        power = torch.fft.fft2(gray * window).abs().square().flatten(1)
        rings, counts = rings_of(height, width)
        summed = power.new_zeros(len(power), len(counts))
        summed.index_add_(1, rings.to(power.device), power)
        # The last is of what lies beyond the shorter side's own frequencies, the first the mean.
        mean: Tensor = summed / counts.to(power.device)
        return mean[:, 1:-1].float()


def hann(size: int) -> Tensor:
    """Return the Hann window without its zeros."""
    window: Tensor = torch.hann_window(size + 2, periodic=False, dtype=torch.float64)
    return window.narrow(0, 1, size)


@functools.lru_cache(maxsize=4)
def rings_of(height: int, width: int) -> tuple[Tensor, Tensor]:
    """Return the ring of each frequency, by rounded radius, and how many lie in each."""
    side = min(height, width)
    rows = torch.fft.fftfreq(height, dtype=torch.float64) * side
    columns = torch.fft.fftfreq(width, dtype=torch.float64) * side
    rings = torch.hypot(rows[:, None], columns[None]).round().long().clamp(max=side // 2 + 1)
    return rings.flatten(), torch.bincount(rings.flatten(), minlength=side // 2 + 2)


def spectral_slope(power: Rows) -> tuple[float, Array]:
    """Return the slope b of power ~ 1 / frequency^b of a set, and each image's influence on it.

    Least squares of the logarithm of the mean power [images, frequencies], from 2 cycles a side to
    below the highest frequency.
    """
    frequencies = np.arange(FIRST, power.shape[1])
    kept = power[:, FIRST - 1 : -1].astype(np.float64)
    logs = np.log(frequencies)
    weights = -(logs - logs.mean()) / np.sum((logs - logs.mean()) ** 2)
    whole = kept.mean(axis=0)
    return float(weights @ np.log(whole)), (kept / whole - 1) @ weights


def spectrum_readings(told: Telling) -> Iterator[Reading]:
    """Yield the difference of the slopes, generated less real images."""
    metric, real = told.names.slope, told.reference.features
    refusal = misfit(told.features, real)
    rings = told.features.shape[1]
    if refusal is None and rings < FIRST + LEAST_RINGS:
        refusal = (
            f"the shorter side has {2 * rings} pixels; at least {2 * (FIRST + LEAST_RINGS)} needed"
        )
    if refusal is None and not (told.features.mean(axis=0) > 0).all():
        refusal = "the generated images have no contrast"
    if refusal is not None:
        yield told.null(metric, refusal)
        return
    assert real is not None  # noqa: S101  # else refused
    (mine, own), (slope, theirs) = spectral_slope(told.features), spectral_slope(real)
    error = error_of(own, theirs) if min(len(own), len(theirs)) > 1 else None
    yield told.estimated(
        metric,
        Estimate(mine - slope, error),
        interval="influence of each image; both sets",
        influences=told.kept(mine - slope, (own, theirs)),
        slopes=[mine, slope],
    )
