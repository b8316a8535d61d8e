"""Resampling with a short low-pass filter, as StyleGAN2 does it between resolutions.

Source: Karras et al., "Analyzing and Improving the Image Quality of StyleGAN" (arXiv 1912.04958);
the filter [1, 3, 3, 1] follows Zhang, "Making Convolutional Networks Shift-Invariant Again"
(arXiv 1904.11486). Filters are convolved, not correlated, unless `flip` is set.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from reference_models.winograd import BY_TORCH, Convolutions

Padding = tuple[int, int, int, int]
"""Zeros (negative: cropped pixels) before x, after x, before y, after y."""

BINOMIAL = (1.0, 3.0, 3.0, 1.0)
NO_PADDING: Padding = (0, 0, 0, 0)


def filter_kernel(taps: Sequence[float] | Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Return the filter with sum 1: short 1-D taps as their outer product, 8 taps or more as 1-D."""
    kernel = torch.as_tensor(taps, dtype=torch.float32)
    separable_taps = 8
    if kernel.ndim == 1 and len(kernel) < separable_taps:
        kernel = kernel.outer(kernel)
    return kernel / kernel.sum()


def upfirdn2d(
    x: Float[Tensor, "batch channels height width"],
    kernel: Float[Tensor, "..."],
    *,
    up: tuple[int, int] = (1, 1),
    down: tuple[int, int] = (1, 1),
    padding: Padding = NO_PADDING,
    flip: bool = False,
    gain: float = 1.0,
) -> Float[Tensor, "batch channels new_height new_width"]:
    """Insert zeros (`up`, x then y), pad, filter each channel, keep every `down`-th sample.

    A 1-D kernel is applied along x and then along y.
    """
    if kernel.ndim == 1:
        row, column = kernel[None, :], kernel[:, None]
        left, right, top, bottom = padding
        x = upfirdn2d(
            x,
            row,
            up=(up[0], 1),
            down=(down[0], 1),
            padding=(left, right, 0, 0),
            flip=flip,
            gain=gain,
        )
        return upfirdn2d(
            x, column, up=(1, up[1]), down=(1, down[1]), padding=(0, 0, top, bottom), flip=flip
        )
    batch, channels, height, width = x.shape
    if up != (1, 1):
        stuffed = x.new_zeros(batch, channels, height * up[1], width * up[0])
        stuffed[:, :, :: up[1], :: up[0]] = x
        x = stuffed
    left, right, top, bottom = padding
    even = left == right >= 0 and top == bottom >= 0
    if not even:
        x = F.pad(x, padding)
    weight = (kernel if flip else kernel.flip((0, 1))) * gain
    weight = weight.to(x.dtype).expand(channels, 1, *weight.shape)
    zeros = (top, left) if even else 0
    return F.conv2d(x, weight, stride=(down[1], down[0]), padding=zeros, groups=channels)


def upsample2d(
    x: Float[Tensor, "batch channels height width"],
) -> Float[Tensor, "batch channels new_height new_width"]:
    """Return `x` at twice the size: zeros between samples, [1, 3, 3, 1] filter, zeros outside.

    Per axis out[2i] = x[i-1]/4 + 3x[i]/4 and out[2i+1] = 3x[i]/4 + x[i+1]/4: bilinear
    interpolation, but at the border, where that repeats the edge pixel. There x/4 + 3x/4 becomes
    3x/4, so the first and last rows and columns are scaled by 3/4.
    """
    doubled = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    for axis in (2, 3):
        last = doubled.shape[axis] - 1
        doubled.narrow(axis, 0, 1).mul_(0.75)
        doubled.narrow(axis, last, 1).mul_(0.75)
    return doubled


def upsampled_rows(
    x: Float[Tensor, "batch channels height width"], start: int, stop: int
) -> Float[Tensor, "batch channels rows new_width"]:
    """Return the rows from `start` to before `stop` of `upsample2d`, from the rows they need."""
    height = x.shape[2]
    first, last = max((start + 1) // 2 - 1, 0), min(stop // 2, height - 1)
    # Of the window's own first and last row, only those of the image are among what is returned.
    return upsample2d(x[:, :, first : last + 1])[:, :, start - 2 * first : stop - 2 * first]


def binomial_like(x: Float[Tensor, "..."]) -> Float[Tensor, "4 4"]:
    """Return the [1, 3, 3, 1] kernel on the device of `x`."""
    # Made there: a copy from the host cannot be captured in a CUDA graph.
    line = 4 - 2 * (torch.arange(4, device=x.device, dtype=torch.float32) - 1.5).abs()
    return line.outer(line) / 64


def downsample2d(
    x: Float[Tensor, "batch channels height width"],
) -> Float[Tensor, "batch channels new_height new_width"]:
    """Return `x` at half the size, low-pass filtered with [1, 3, 3, 1]."""
    return upfirdn2d(x, binomial_like(x), down=(2, 2), padding=(1, 1, 1, 1))


def conv2d_up(
    x: Float[Tensor, "batch inputs height width"], weight: Float[Tensor, "outputs inputs k k"]
) -> Float[Tensor, "batch outputs new_height new_width"]:
    """Return a convolution of the zero-stuffed map, low-pass filtered: twice the size.

    3x3: a transposed convolution of stride 2, then the filter with gain 4 and one zero on every
    side. 1x1: the convolution first, then `upsample2d`, which is the same and cheaper.
    """
    if weight.shape[-1] == 1:
        return upsample2d(F.conv2d(x, weight))
    stretched = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
    return upfirdn2d(stretched, binomial_like(x), padding=(1, 1, 1, 1), gain=4.0)


def conv2d_down(
    x: Float[Tensor, "batch inputs height width"],
    weight: Float[Tensor, "outputs inputs k k"],
    by: Convolutions = BY_TORCH,
) -> Float[Tensor, "batch outputs new_height new_width"]:
    """Return a convolution of the low-pass filtered map at half the size.

    3x3: two zeros on every side for the filter, then stride 2. 1x1: filter, take every second
    pixel, then convolve.
    """
    if weight.shape[-1] == 1:
        return F.conv2d(downsample2d(x), weight)
    filtered = upfirdn2d(x, binomial_like(x), padding=(2, 2, 2, 2))
    return by.halved(filtered, weight)
