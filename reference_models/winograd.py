"""3x3 convolution with 2.25 times fewer multiplications, for CPUs, whose library has none.

Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (arXiv 1509.09308,
section 4.1): F(2x2, 3x3), Y = A^T [(G g G^T) ⊙ (B^T d B)] A for tiles d of 4x4 pixels that overlap
by two. The products over channels are sixteen matrix products, which round less than a direct
convolution does. Maps are channels last here: tiles are then slices of whole pixels.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

FEWEST_CHANNELS = 128
"""Below, moving tiles costs more than their products save."""
TILES = 512
"""Tiles at once: what belongs to them stays in a CPU's cache."""


def pays(x: Float[Tensor, "batch inputs height width"], outputs: int) -> bool:
    """Return whether to convolve so: single precision without a gradient, enough of everything."""
    batch, inputs, height, width = x.shape
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and not torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
        and min(inputs, outputs) >= FEWEST_CHANNELS
        and not (height % 2 or width % 2)
        and batch * height * width >= 4 * TILES
    )


def transformed(
    weight: Float[Tensor, "outputs inputs 3 3"],
) -> Float[Tensor, "16 inputs outputs"]:
    """Return G g G^T of every kernel, as the matrices that tiles are multiplied with."""
    corner = weight.new_tensor([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
    both = torch.einsum("ik,jl->ijkl", corner, corner).reshape(16, 9)
    outputs, inputs = weight.shape[:2]
    taps = weight.permute(2, 3, 1, 0).reshape(9, inputs * outputs)
    return (both @ taps).view(16, inputs, outputs)


def convolve(
    x: Float[Tensor, "batch inputs height width"], kernels: Float[Tensor, "16 inputs outputs"]
) -> Float[Tensor, "batch outputs height width"]:
    """Return the correlation with zero padding of one pixel; `kernels` are `transformed` ones."""
    batch, _, height, width = x.shape
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    y = x.new_empty(batch, height, width, kernels.shape[2])
    rows = 2 * max(1, TILES // (batch * width // 2))
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        products = torch.bmm(tiles(padded[:, top : bottom + 2]).flatten(1, 3), kernels)
        untile(products, y[:, top:bottom])
    return y.permute(0, 3, 1, 2)


def tiles(
    x: Float[Tensor, "batch rows columns channels"],
) -> Float[Tensor, "16 batch down across channels"]:
    """Return B^T d B of the 4x4 tiles, which begin at every second pixel."""
    batch, rows, columns, channels = x.shape
    down, across = rows // 2 - 1, columns // 2 - 1
    half = x.new_empty(4, batch, down, columns, channels)
    differences([x[:, k : k + 2 * down : 2] for k in range(4)], half)
    whole = x.new_empty(4, 4, batch, down, across, channels)
    differences([half[:, :, :, k : k + 2 * across : 2] for k in range(4)], whole.transpose(0, 1))
    return whole.flatten(0, 1)


def differences(d: list[Tensor], out: Tensor) -> None:
    """Write B^T d along one axis: d0 - d2, d1 + d2, d2 - d1, d1 - d3."""
    torch.sub(d[0], d[2], out=out[0])
    torch.add(d[1], d[2], out=out[1])
    torch.sub(d[2], d[1], out=out[2])
    torch.sub(d[1], d[3], out=out[3])


def untile(
    m: Float[Tensor, "16 pixels channels"], y: Float[Tensor, "batch rows columns channels"]
) -> None:
    """Write A^T m A: along each axis m0 + m1 + m2 and m1 - m2 - m3. `m` is overwritten."""
    batch, rows, columns, channels = y.shape
    m = m.view(4, 4, batch, rows // 2, columns // 2, channels)
    even = torch.add(m[0], m[1]).add_(m[2])
    odd = m[1].sub_(m[2]).sub_(m[3])
    for row, part in enumerate((even, odd)):
        torch.add(part[0], part[1], out=y[:, row::2, 0::2]).add_(part[2])
        torch.sub(part[1], part[2], out=y[:, row::2, 1::2]).sub_(part[3])
