"""3x3 convolution with 2.25 times fewer multiplications, for CPUs, whose library has none.

Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (arXiv 1509.09308,
section 4.1): F(2x2, 3x3), Y = A^T [(G g G^T) ⊙ (B^T d B)] A for tiles d of 4x4 pixels that overlap
by two. The products over channels are sixteen matrix products, which round less than a direct
convolution does. Maps are channels last here: tiles are then slices of whole pixels. The derivative
by the map is a convolution of the same kind, and that by the kernels a product of the same tiles.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

FEWEST_CHANNELS = 128
"""Below, moving tiles costs more than their products save."""
FEWEST_PIXELS = 2048
"""Of a batch; below, rewriting the kernels costs more than their products save."""
FEWEST_TILES, MOST_TILES = 128, 512
"""At once; half as many as channels, since kernels are read for each such band of rows."""


class Convolutions:
    """What convolutions on a CPU are made of, by torch's operations.

    Kernels for the same are in `reference_models.native`.
    """

    def source(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch height_and_border width_and_border channels"]:
        """Return the map as `cut` takes it."""
        return bordered(x)

    def cut(self, source: Tensor, top: int, bottom: int) -> Float[Tensor, "16 tiles channels"]:
        """Return B^T d B of the 4x4 tiles around the pixels of these rows."""
        return tiles(source[:, top : bottom + 2]).flatten(1, 3)

    def join(
        self,
        products: Float[Tensor, "16 tiles channels"],
        y: Float[Tensor, "batch height width channels"],
        top: int,
        bottom: int,
    ) -> None:
        """Write A^T m A to these rows of a map. `products` are overwritten."""
        untile(products, y[:, top:bottom])

    def pixels(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch height width channels"]:
        """Return the map, channels last, as `spread` takes it."""
        return x.permute(0, 2, 3, 1)

    def spread(
        self, g: Float[Tensor, "batch height width channels"], top: int, bottom: int
    ) -> Float[Tensor, "16 tiles channels"]:
        """Return A g A^T of the 2x2 tiles of these rows."""
        return spread(g[:, top:bottom]).flatten(1, 3)

    def packed(self, matrices: Float[Tensor, "16 inputs outputs"]) -> Tensor:
        """Return the matrices as `multiply` takes them."""
        return matrices

    def multiply(
        self, rows: Float[Tensor, "16 tiles inputs"], packed: Tensor
    ) -> Float[Tensor, "16 tiles outputs"]:
        """Return the products of rows and `packed` matrices."""
        return torch.bmm(rows, packed)

    def add_products(
        self,
        total: Float[Tensor, "16 inputs outputs"],
        first: Float[Tensor, "16 tiles inputs"],
        second: Float[Tensor, "16 tiles outputs"],
    ) -> None:
        """Add first^T second to the total."""
        # In this form torch's formulas count it.
        torch.baddbmm(total, first.transpose(1, 2), second, out=total)

    def halved(
        self,
        x: Float[Tensor, "batch inputs height width"],
        weight: Float[Tensor, "outputs inputs 3 3"],
    ) -> Float[Tensor, "batch outputs new_height new_width"]:
        """Return the correlation at every second pixel, without padding."""
        return F.conv2d(x, weight, stride=2)


BY_TORCH = Convolutions()


class Convolving:
    """A layer with a convolution."""

    convolutions: Convolutions = BY_TORCH
    """How it is computed."""
    weight: nn.Parameter

    @property
    def wide(self) -> bool:
        """Whether it has 3x3 kernels and enough channels; enough pixels is for `pays` to say."""
        return self.weight.shape[-1] == 3 and min(self.weight.shape[:2]) >= FEWEST_CHANNELS  # noqa: PLR2004


def pays(x: Float[Tensor, "batch inputs height width"], outputs: int) -> bool:
    """Return whether to convolve so: single precision on a CPU, enough of everything."""
    batch, inputs, height, width = x.shape
    return (
        x.is_cpu
        and x.dtype == torch.float32
        and not torch.compiler.is_compiling()
        and min(inputs, outputs) >= FEWEST_CHANNELS
        and not (height % 2 or width % 2)
        and batch * height * width >= FEWEST_PIXELS
    )


def convolution(
    x: Float[Tensor, "batch inputs height width"],
    weight: Float[Tensor, "outputs inputs 3 3"],
    by: Convolutions = BY_TORCH,
) -> Float[Tensor, "batch outputs height width"]:
    """Return the correlation with zero padding of one pixel; it can be differentiated twice."""
    if pays(x, len(weight)):
        y: Tensor = Convolution.apply(x, weight, by)
        return y
    return F.conv2d(x, weight, padding=1)


def keep_inputs(ctx: Any, inputs: tuple[Tensor, Tensor, Convolutions], output: Tensor) -> None:
    """Keep both factors for the derivatives of a bilinear function."""
    del output
    ctx.save_for_backward(*inputs[:2])
    ctx.by = inputs[2]


class Convolution(torch.autograd.Function):
    """Map and kernels -> map."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, by: Convolutions) -> Tensor:
        """Return the correlation."""
        return convolve(x, by.packed(transformed(weight)), len(weight), by)

    setup_context = staticmethod(keep_inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        """Return the gradients of map and kernels, as far as they are asked for."""
        x, weight = ctx.saved_tensors
        by_map, by_weight, _ = ctx.needs_input_grad
        return (
            Convolution.apply(gradient, turned(weight), ctx.by) if by_map else None,
            WeightGradient.apply(x, gradient, ctx.by) if by_weight else None,
            None,
        )


class WeightGradient(torch.autograd.Function):
    """Map and gradient of the convolved map -> gradient of the kernels; bilinear as well."""

    @staticmethod
    def forward(x: Tensor, gradient: Tensor, by: Convolutions) -> Tensor:
        """Return the gradient of the kernels."""
        return correlate(x, gradient, by)

    setup_context = staticmethod(keep_inputs)

    @staticmethod
    def backward(ctx: Any, weight: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        """Return the gradients of both maps: convolutions with what came in."""
        x, gradient = ctx.saved_tensors
        by_map, by_gradient, _ = ctx.needs_input_grad
        return (
            Convolution.apply(gradient, turned(weight), ctx.by) if by_map else None,
            Convolution.apply(x, weight, ctx.by) if by_gradient else None,
            None,
        )


def turned(weight: Float[Tensor, "outputs inputs 3 3"]) -> Float[Tensor, "inputs outputs 3 3"]:
    """Return the kernels that carry a gradient back."""
    return weight.flip((2, 3)).transpose(0, 1)


def corner(like: Tensor) -> Float[Tensor, "16 9"]:
    """Return G of both axes: taps of a kernel -> the sixteen numbers that stand for it."""
    one = like.new_tensor([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
    return torch.einsum("ik,jl->ijkl", one, one).reshape(16, 9)


def transformed(
    weight: Float[Tensor, "outputs inputs 3 3"],
) -> Float[Tensor, "16 inputs outputs"]:
    """Return G g G^T of every kernel, as the matrices that tiles are multiplied with."""
    found = corner(weight) @ weight.reshape(-1, 9).T
    return found.view(16, *weight.shape[:2]).transpose(1, 2)


def convolve(
    x: Float[Tensor, "batch inputs height width"],
    packed: Tensor,
    outputs: int,
    by: Convolutions = BY_TORCH,
) -> Float[Tensor, "batch outputs height width"]:
    """Return the correlation with zero padding of one pixel; kernels are `transformed`, and packed."""
    batch, _, height, width = x.shape
    source = by.source(x)
    y = x.new_empty(batch, height, width, outputs)
    for top, bottom in bands(x, together(x.shape[1])):
        by.join(by.multiply(by.cut(source, top, bottom), packed), y, top, bottom)
    return y.permute(0, 3, 1, 2)


def correlate(
    x: Float[Tensor, "batch inputs height width"],
    gradient: Float[Tensor, "batch outputs height width"],
    by: Convolutions = BY_TORCH,
) -> Float[Tensor, "outputs inputs 3 3"]:
    """Return the gradient of the kernels: G^T [sum over tiles of (B^T d B) (A g A^T)] G."""
    inputs, outputs = x.shape[1], gradient.shape[1]
    source = by.source(x)
    g = by.pixels(gradient)
    total = x.new_zeros(16, inputs, outputs)
    for top, bottom in bands(x, MOST_TILES):
        by.add_products(total, by.cut(source, top, bottom), by.spread(g, top, bottom))
    taps = corner(x).T @ total.view(16, -1)
    return taps.view(3, 3, inputs, outputs).permute(3, 2, 0, 1)


def bordered(
    x: Float[Tensor, "batch channels height width"],
) -> Float[Tensor, "batch height_and_2 width_and_2 channels"]:
    """Return the map, channels last, with a border of zeros (F.pad writes everything twice)."""
    batch, channels, height, width = x.shape
    whole = x.new_empty(batch, height + 2, width + 2, channels)
    for edge in (whole[:, 0], whole[:, -1], whole[:, :, 0], whole[:, :, -1]):
        edge.zero_()
    whole[:, 1:-1, 1:-1] = x.permute(0, 2, 3, 1)
    return whole


def together(channels: int) -> int:
    """Return how many tiles to multiply at once: what belongs to them stays in a CPU's cache."""
    return min(MOST_TILES, max(FEWEST_TILES, channels // 2))


def bands(x: Float[Tensor, "batch channels height width"], count: int) -> list[tuple[int, int]]:
    """Return the rows of so many tiles: first, and one beyond the last."""
    batch, _, height, width = x.shape
    rows = 2 * max(1, count // (batch * width // 2))
    return [(top, min(top + rows, height)) for top in range(0, height, rows)]


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


def spread(
    g: Float[Tensor, "batch rows columns channels"],
) -> Float[Tensor, "16 batch down across channels"]:
    """Return A g A^T of the 2x2 tiles: along each axis g0, g0 + g1, g0 - g1, -g1."""
    batch, rows, columns, channels = g.shape
    half = g.new_empty(4, batch, rows // 2, columns, channels)
    sums(g[:, 0::2], g[:, 1::2], half)
    whole = g.new_empty(4, 4, batch, rows // 2, columns // 2, channels)
    sums(half[:, :, :, 0::2], half[:, :, :, 1::2], whole.transpose(0, 1))
    return whole.flatten(0, 1)


def sums(first: Tensor, second: Tensor, out: Tensor) -> None:
    """Write A g along one axis."""
    out[0].copy_(first)
    torch.add(first, second, out=out[1])
    torch.sub(first, second, out=out[2])
    torch.neg(second, out=out[3])
