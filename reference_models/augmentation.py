"""ADA's augmentations: pixel blitting, geometry and color, each with probability p an image.

Source: Karras et al., "Training Generative Adversarial Networks with Limited Data" (arXiv
2006.06676, appendix B, figure 16). Geometry is one affine map an image, executed once between an
up- and a downsampling by the sym6 wavelet; color is one 4x4 matrix an image. Filtering, noise and
cutout, which the paper found harmful or useless, are left out.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from reference_models.resampling import upfirdn2d

SYM6 = (
    0.015404109327027373,
    0.0034907120842174702,
    -0.11799011114819057,
    -0.048311742585633,
    0.4910559419267466,
    0.787641141030194,
    0.3379294217276218,
    -0.07263752278646252,
    -0.021060292512300564,
    0.04472490177066578,
    0.0017677118642428036,
    -0.007800708325034148,
)
"""Low-pass filter of the symlet with six vanishing moments (Daubechies, Ten Lectures, 1992)."""
SUPPORT = len(SYM6) // 4
"""Pixels that the filter reaches to either side, at the image's own size."""
PHASE = 0.5
"""Of a filter with an even number of taps: its output lies half a (small) pixel off."""
UNIFORMS = 21
NORMALS = 7
"""Random numbers an image takes."""
RGB = 3

Matrices = Float[Tensor, "batch n n"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Strengths:
    """Reach of each augmentation: fractions of the side, or standard deviations of log2."""

    integer_translation: float = 0.125
    scale: float = 0.2
    anisotropy: float = 0.2
    translation: float = 0.125
    brightness: float = 0.2
    contrast: float = 0.5
    saturation: float = 1.0


PAPER = Strengths()


class Chances:
    """Gives each augmentation its random numbers, column by column, and whether it happens."""

    def __init__(
        self,
        uniforms: Float[Tensor, "batch 21"],
        normals: Float[Tensor, "batch 7"],
        p: Float[Tensor, ""],
    ) -> None:
        self.p = p
        self.uniform = iter(uniforms.unbind(1))
        self.normal = iter(normals.unbind(1))

    def happens(self, value: Tensor, otherwise: float, p: Tensor | None = None) -> Tensor:
        """Return `value` where the augmentation happens, with probability p, else `otherwise`."""
        chosen = next(self.uniform) < (self.p if p is None else p)
        return torch.where(chosen, value, torch.full_like(value, otherwise))


def adaptive_augment(
    images: Float[Tensor, "batch channels side side"],
    uniforms: Float[Tensor, "batch 21"],
    normals: Float[Tensor, "batch 7"],
    p: Float[Tensor, ""],
) -> Float[Tensor, "batch channels side side"]:
    """Return the images, each with a random choice of augmentations; differentiable twice.

    `uniforms` in [0, 1) and `normals` decide what happens; `p`: the probability of each.
    """
    chances = Chances(uniforms, normals, p)
    inverse = inverse_map(chances, images.shape[3])
    colors = color_matrices(chances)
    return recolored(warped(images, inverse), colors)


def inverse_map(chances: Chances, side: int) -> Matrices:
    """Return the 3x3 map from places in the new image to places in the old one, in pixels."""
    u = chances.uniform
    # Blitting: mirror, quarter turns, whole pixels.
    flip = chances.happens((next(u) * 2).floor(), 0.0)
    inverse = scaling(1 - 2 * flip, torch.ones_like(flip))
    turns = chances.happens((next(u) * 4).floor(), 0.0)
    inverse = inverse @ rotation(turns * (math.pi / 2))
    reach = PAPER.integer_translation
    moves = [chances_pair(chances, (next(u) * 2 - 1) * reach, (next(u) * 2 - 1) * reach)]
    across, down = (torch.round(move * side) for move in moves[0])
    inverse = inverse @ translation(-across, -down)
    # Geometry: size, turn, stretch, turn, fractions of pixels.
    size = chances.happens(torch.exp2(next(chances.normal) * PAPER.scale), 1.0)
    inverse = inverse @ scaling(1 / size, 1 / size)
    # Two turns of this probability leave an image unturned with probability 1 - p.
    turning = 1 - (1 - chances.p).clamp(min=0).sqrt()
    angle = chances.happens((next(u) * 2 - 1) * math.pi, 0.0, turning)
    inverse = inverse @ rotation(angle)
    stretch = chances.happens(torch.exp2(next(chances.normal) * PAPER.anisotropy), 1.0)
    inverse = inverse @ scaling(1 / stretch, stretch)
    angle = chances.happens((next(u) * 2 - 1) * math.pi, 0.0, turning)
    inverse = inverse @ rotation(angle)
    shift = PAPER.translation * side
    across, down = chances_pair(chances, next(chances.normal) * shift, next(chances.normal) * shift)
    return inverse @ translation(-across, -down)


def chances_pair(chances: Chances, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Return both values where one augmentation happens, else zeros."""
    chosen = chances.happens(torch.ones_like(first), 0.0)
    return first * chosen, second * chosen


def color_matrices(chances: Chances) -> Matrices:
    """Return the 4x4 map of (red, green, blue, 1) that the image's colors undergo."""
    normal, uniform = chances.normal, chances.uniform
    level = chances.happens(next(normal) * PAPER.brightness, 0.0)
    unit = torch.eye(4, dtype=level.dtype, device=level.device)
    axis = torch.tensor([1.0, 1.0, 1.0, 0.0], dtype=level.dtype, device=level.device) / math.sqrt(
        RGB
    )
    along = axis.outer(axis)
    one = unit[3]
    matrix = unit + level[:, None, None] * (axis * math.sqrt(RGB)).outer(one)
    contrast = chances.happens(torch.exp2(next(normal) * PAPER.contrast), 1.0)
    shrink = torch.ones_like(unit[0]) - one
    matrix = (contrast[:, None] * shrink + one).unsqueeze(2) * matrix
    flip = chances.happens((next(uniform) * 2).floor(), 0.0)
    matrix = (unit - 2 * along * flip[:, None, None]) @ matrix
    hue = chances.happens((next(uniform) * 2 - 1) * math.pi, 0.0)
    matrix = turning_about_gray(hue, unit, axis) @ matrix
    saturation = chances.happens(torch.exp2(next(normal) * PAPER.saturation), 1.0)
    return (along + (unit - along) * saturation[:, None, None]) @ matrix


def turning_about_gray(angle: Tensor, unit: Tensor, axis: Tensor) -> Matrices:
    """Return rotations of color about the gray axis (Rodrigues' formula)."""
    # The cross product with (1, 1, 1) / sqrt(3): each color less the next.
    following = unit[[1, 2, 0, 3]] - unit[[2, 0, 1, 3]]
    cross = -following / math.sqrt(RGB)
    sine, cosine = angle.sin()[:, None, None], angle.cos()[:, None, None]
    last = unit[3].outer(unit[3])
    along = axis.outer(axis)
    return cosine * (unit - last) + sine * cross + (1 - cosine) * along + last


def recolored(images: Tensor, matrices: Matrices) -> Tensor:
    """Return the images under their color maps; gray images take the mean of the rows."""
    if images.shape[1] == RGB:
        return (
            torch.einsum("bij,bjhw->bihw", matrices[:, :3, :3], images)
            + matrices[:, :3, 3, None, None]
        )
    if images.shape[1] == 1:
        row = matrices[:, :3].mean(dim=1)
        return images * row[:, :3].sum(dim=1)[:, None, None, None] + row[:, 3, None, None, None]
    msg = f"{images.shape[1]} channels: colors can be changed of 1 or 3"
    raise ValueError(msg)


def warped(images: Tensor, inverse: Matrices) -> Tensor:
    """Return the images under the inverse maps of places, mirrored beyond their edges."""
    batch, channels, side, _ = images.shape
    kernel = torch.tensor(SYM6, dtype=images.dtype, device=images.device) / sum(SYM6)
    out_side = 2 * (side + 2 * SUPPORT)
    margin = needed_margin(inverse.detach(), side, out_side)
    padded = F.pad(images, [margin] * 4, mode="reflect")
    taps = len(SYM6)
    before, after = (taps + 1) // 2, (taps - 2) // 2
    large = upfirdn2d(padded, kernel, up=(2, 2), padding=(before, after, before, after), gain=4.0)
    grid = sampling_grid(inverse, out_side, large.shape[3])
    wider = torch.promote_types(large.dtype, grid.dtype)  # as grid_sample does under autocast
    sampled = Sampled.apply(large.to(wider), grid.to(wider))
    before, after = (taps - 1) // 2 - 2 * SUPPORT, (taps - 2) // 2 - 2 * SUPPORT
    return upfirdn2d(
        sampled, kernel, down=(2, 2), padding=(before, after, before, after), flip=True
    ).reshape(batch, channels, side, side)


class Sampled(torch.autograd.Function):
    """Bilinear samples at the places of a grid; linear in the images, and so is its derivative.

    torch 2.11 cannot differentiate the gradient of `grid_sample`, as R1 needs. The grid
    [batch, side, side, 2] gets no gradient.
    """

    @staticmethod
    def forward(images: Tensor, grid: Tensor) -> Tensor:
        """Return the samples [batch, channels, side, side]."""
        return F.grid_sample(
            images, grid, mode="bilinear", padding_mode="zeros", align_corners=False
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG004  # torch
        """Keep the grid, and the shape of the images."""
        images, grid = inputs
        ctx.save_for_backward(grid)
        ctx.shape = images.shape

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        """Return the gradient of the images."""
        (grid,) = ctx.saved_tensors
        return Spread.apply(grads[0].to(grid.dtype), grid, ctx.shape), None


class Spread(torch.autograd.Function):
    """The transpose of `Sampled`: values go back to the pixels that they were sampled from."""

    @staticmethod
    def forward(values: Tensor, grid: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Return images of that shape."""
        images = values.new_empty(()).expand(shape)  # its shape alone counts
        gradients = torch.ops.aten.grid_sampler_2d_backward
        spread, _ = gradients(values, images, grid, 0, 0, False, [True, False])  # noqa: FBT003
        return spread  # type: ignore[no-any-return]  # torch

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG004  # torch
        """Keep the grid."""
        ctx.save_for_backward(inputs[1])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient of the values."""
        (grid,) = ctx.saved_tensors
        return Sampled.apply(grads[0].to(grid.dtype), grid), None, None


def needed_margin(inverse: Matrices, side: int, out_side: int) -> int:
    """Return the pixels of border that the maps see, with what the filter needs of more."""
    half = out_side / 4
    corners = inverse.new_tensor([[-half, half, -half, half], [-half, -half, half, half], [1] * 4])
    reach = float((inverse @ corners)[:, :2].abs().max())
    return min(max(math.ceil(reach - side / 2) + SUPPORT + 1, SUPPORT + 1), side - 1)


def sampling_grid(inverse: Matrices, out_side: int, in_side: int) -> Float[Tensor, "b h w 2"]:
    """Return where each pixel of the new image (at twice the size) lies in the old, in [-1, 1]."""
    place = torch.arange(out_side, dtype=inverse.dtype, device=inverse.device)
    centered = (place - (out_side - 1) / 2 + PHASE) / 2
    x, y = torch.meshgrid(centered, centered, indexing="xy")
    points = torch.stack([x, y, torch.ones_like(x)]).flatten(1)
    old = (inverse @ points)[:, :2] * 2 - PHASE
    grid = old.transpose(1, 2).reshape(len(inverse), out_side, out_side, 2)
    return grid * (2 / in_side)


def matrices(rows: list[list[Tensor | float]], like: Tensor) -> Matrices:
    """Return 3x3 matrices from rows of numbers and tensors [batch]."""
    full = [
        [entry if isinstance(entry, Tensor) else torch.full_like(like, entry) for entry in row]
        for row in rows
    ]
    return torch.stack([torch.stack(row, dim=1) for row in full], dim=1)


def scaling(x: Tensor, y: Tensor) -> Matrices:
    """Return maps that scale the axes."""
    return matrices([[x, 0.0, 0.0], [0.0, y, 0.0], [0.0, 0.0, 1.0]], x)


def rotation(angle: Tensor) -> Matrices:
    """Return rotations about the center."""
    sine, cosine = angle.sin(), angle.cos()
    return matrices([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]], angle)


def translation(x: Tensor, y: Tensor) -> Matrices:
    """Return translations."""
    return matrices([[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]], x)
