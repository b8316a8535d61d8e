"""How near a reconstruction is to its original: PSNR, SSIM and MS-SSIM, in float64.

SSIM: Wang, Bovik, Sheikh and Simoncelli, IEEE Transactions on Image Processing 13 (2004); MS-SSIM:
Wang, Simoncelli and Bovik, Asilomar 2003. Packages differ in window, border, range and mean, which
moves a value by more than two methods differ: see the cards.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

Images = Float[Tensor, "batch channels height width"]
Window = Literal["gaussian-11", "uniform-7"]
Border = Literal["valid", "reflect"]

K1, K2 = 0.01, 0.03
SIGMA = 1.5
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Of the scales of MS-SSIM, finest first."""
POOLED_SIDE = 256
"""piq halves images until their smaller side is about this."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SsimWay:
    """Window and border of local statistics, the range of pixels, and the divisor of covariances.

    `range`: the dynamic range that the constants assume, of pixels in [0, 1]. `sample`: covariances
    divide by N - 1. `pooled`: images are first averaged to about 256 px. `mixed`: MS-SSIM means over
    channels before the powers.
    """

    window: Window = "gaussian-11"
    border: Border = "valid"
    range: float = 1.0
    sample: bool = False
    pooled: bool = False
    mixed: bool = False

    @property
    def side(self) -> int:
        """The side of the window."""
        return 11 if self.window == "gaussian-11" else 7


def psnr(first: Images, second: Images, *, floor: float = 0.0) -> Float[Tensor, " batch"]:
    """Return the peak signal-to-noise ratio of each pair in dB, of pixels in [0, 1].

    `floor` is added to the mean squared error (piq: 1e-8); infinite for equal images without it.
    """
    return -10 * torch.log10(squared_error(first, second) + floor)


def squared_error(first: Images, second: Images) -> Float[Tensor, " batch"]:
    """Return the mean squared error of each pair, of pixels in [0, 1]."""
    return (first - second).square().flatten(1).mean(dim=1)


def pooled_psnr(errors: Float[Tensor, " images"]) -> float:
    """Return the PSNR of the mean squared error over all images."""
    mean = float(errors.mean())
    return math.inf if not mean else -10 * math.log10(mean)


def ssim(first: Images, second: Images, way: SsimWay) -> Float[Tensor, " batch"]:
    """Return the structural similarity of each pair, of pixels in [0, 1].

    Raises ValueError for images smaller than the window.
    """
    x, y = (pooled(images, way) for images in (first, second))
    whole, _ = local_maps(x, y, way)
    return whole.flatten(1).mean(dim=1)


def multi_scale_ssim(first: Images, second: Images, way: SsimWay) -> Float[Tensor, " batch"]:
    """Return MS-SSIM of each pair over five scales.

    Raises ValueError for images whose smallest scale is smaller than the window.
    """
    x, y = first, second
    scales = []
    for scale, _ in enumerate(WEIGHTS):
        whole, contrast = local_maps(x, y, way)
        last = scale == len(WEIGHTS) - 1
        if way.border == "reflect":
            # torchmetrics leaves the border out of all scales but the last.
            half = way.side // 2
            contrast = contrast[:, :, half:-half, half:-half]
        scales.append((whole if last else contrast).mean(dim=(2, 3)))
        if not last:
            x, y = (halved(images, repeated=not way.mixed) for images in (x, y))
    values = torch.stack(scales)
    if way.mixed:
        values = values.mean(dim=2, keepdim=True)
    weights = torch.tensor(WEIGHTS, dtype=values.dtype)[:, None, None]
    return values.relu().pow(weights).prod(dim=0).mean(dim=1)


def halved(images: Images, *, repeated: bool) -> Tensor:
    """Return images at half the size: means of 2 x 2; an odd row or column repeated, or left out."""
    odd = [side % 2 if repeated else 0 for side in images.shape[2:]]
    padded = F.pad(images, (odd[1], 0, odd[0], 0), mode="replicate") if any(odd) else images
    return F.avg_pool2d(padded, 2)


def pooled(images: Images, way: SsimWay) -> Tensor:
    """Return images averaged to about 256 px, if the way does so."""
    factor = round(min(images.shape[2:]) / POOLED_SIDE) if way.pooled else 1
    return F.avg_pool2d(images, factor) if factor > 1 else images


def local_maps(first: Images, second: Images, way: SsimWay) -> tuple[Tensor, Tensor]:
    """Return the maps of similarity, and of contrast and structure alone."""
    if min(first.shape[2:]) < way.side:
        msg = f"images of {first.shape[3]}x{first.shape[2]} px; the window needs {way.side}"
        raise ValueError(msg)
    one, two = (K1 * way.range) ** 2, (K2 * way.range) ** 2
    mean_x, mean_y = averaged(first, way), averaged(second, way)
    count = way.side**2
    factor = count / (count - 1) if way.sample else 1.0
    var_x = factor * (averaged(first * first, way) - mean_x**2)
    var_y = factor * (averaged(second * second, way) - mean_y**2)
    both = factor * (averaged(first * second, way) - mean_x * mean_y)
    contrast = (2 * both + two) / (var_x.clamp(min=0) + var_y.clamp(min=0) + two)
    light = (2 * mean_x * mean_y + one) / (mean_x**2 + mean_y**2 + one)
    return light * contrast, contrast


def averaged(images: Images, way: SsimWay) -> Tensor:
    """Return local means over the window."""
    if way.border == "reflect":
        half = way.side // 2
        images = F.pad(images, (half, half, half, half), mode="reflect")
    weights = line_of(way)
    for axis in (2, 3):
        # A sum of shifted images: a convolution in double precision takes a hundred times as long.
        length = images.shape[axis] - way.side + 1
        total = images.narrow(axis, 0, length) * weights[0]
        for place, weight in enumerate(weights[1:], 1):
            total.add_(images.narrow(axis, place, length), alpha=weight)
        images = total
    return images


def line_of(way: SsimWay) -> list[float]:
    """Return the weights of a line of the window, summing to 1."""
    places = torch.arange(way.side, dtype=torch.float64) - way.side // 2
    weights = torch.exp(-places.square() / (2 * SIGMA**2))
    if way.window == "uniform-7":
        weights = torch.ones_like(weights)
    return [float(weight) for weight in weights / weights.sum()]
