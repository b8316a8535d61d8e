"""Doubling the size by repeating pixels, and a 3x3 convolution of it at a quarter of the cost.

Along one axis pixels 2i and 2i + 1 of the doubled map are pixel i. With taps g0, g1, g2 and their
sum s

    y[2i]     = s x[i] + g0 (x[i-1] - x[i])
    y[2i + 1] = s x[i] - g2 (x[i] - x[i+1])

so both axes take nine products for each pixel of the small map, in place of 36. Products are of the
map and of its differences, which round less than the convolution as written does.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from reference_models.winograd import bordered, together

Map = Float[Tensor, "batch channels height width"]
Doubled = Float[Tensor, "batch outputs double_height double_width"]
Kernels = Float[Tensor, "outputs channels 3 3"]
FEWEST_CHANNELS = 48
"""Below, sums cost more than their products save."""


def doubled(x: Map) -> Float[Tensor, "batch channels double_height double_width"]:
    """Return the map with every pixel four times."""
    return F.interpolate(x, scale_factor=2, mode="nearest")


def convolve_doubled(x: Map, weight: Kernels, bias: Float[Tensor, " outputs"] | None) -> Doubled:
    """Return the correlation of the doubled map with zeros around it."""
    if pays(x, weight):
        return by_differences(x, weight, bias)
    return F.conv2d(doubled(x), weight, bias, padding=1)


def pays(x: Map, weight: Kernels) -> bool:
    """Return whether to convolve so: single precision on a CPU, without gradients, wide enough."""
    return (
        x.is_cpu
        and x.dtype == weight.dtype == torch.float32
        and not torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
        and min(weight.shape[:2]) >= FEWEST_CHANNELS
    )


def by_differences(x: Map, weight: Kernels, bias: Float[Tensor, " outputs"] | None) -> Doubled:
    """Return the correlation of the doubled map, some rows at a time."""
    batch, channels, height, width = x.shape
    outputs = len(weight)
    kernels = sums_of(weight)
    around = bordered(x)
    y = x.new_empty(batch, 2 * height, 2 * width, outputs)
    quads = y.view(batch, height, 2, width, 2, outputs).permute(2, 4, 0, 1, 3, 5)
    rows = min(height, max(1, together(channels) // (batch * width)))
    pixels = batch * rows * width
    # Written again for every band of rows: new memory would cost more than the sums.
    space = [x.new_empty(size * pixels) for size in (9 * channels, 9 * outputs, 6 * outputs)]
    across = x.new_empty(3 * batch * (rows + 2) * width * channels)
    for top in range(0, height, rows):
        size = (batch, min(rows, height - top), width)
        band = around[:, top : top + size[1] + 2]
        half = part_of(across, 3, batch, size[1] + 2, width, channels)
        differences(band[:, :, :-2], band[:, :, 1:-1], band[:, :, 2:], half)
        maps = part_of(space[0], 3, 3, *size, channels)
        differences(half[:, :, :-2], half[:, :, 1:-1], half[:, :, 2:], maps)
        products = part_of(space[1], 9, math.prod(size), outputs)
        torch.bmm(maps.view(9, -1, channels), kernels, out=products)
        products = products.view(3, 3, *size, outputs)
        lines = torch.add(products[:2], products[1:], out=part_of(space[2], 2, 3, *size, outputs))
        if bias is not None:
            lines[:, 1] += bias
        torch.add(lines[:, :2], lines[:, 1:], out=quads[:, :, :, top : top + size[1]])
    return y.permute(0, 3, 1, 2)


def differences(before: Tensor, here: Tensor, after: Tensor, out: Tensor) -> None:
    """Write along one axis: before - here, here, here - after."""
    torch.sub(before, here, out=out[0])
    out[1] = here
    torch.sub(here, after, out=out[2])


def sums_of(weight: Kernels) -> Float[Tensor, "9 channels outputs"]:
    """Return what the nine maps are multiplied with: along each axis g0, g0 + g1 + g2 and -g2."""
    one = weight.new_tensor([[1, 0, 0], [1, 1, 1], [0, 0, -1]])
    both = torch.einsum("ik,jl->ijkl", one, one).reshape(9, 9)
    return (both @ weight.reshape(-1, 9).T).view(9, *weight.shape[:2]).transpose(1, 2)


def part_of(space: Tensor, *shape: int) -> Tensor:
    """Return the first numbers of a space in this shape."""
    return space[: math.prod(shape)].view(shape)
