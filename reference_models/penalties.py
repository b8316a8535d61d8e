"""Penalties on gradients: R1 and R2 of the discriminator, path length of the generator.

Sources: R1 and R2, Mescheder et al., "Which Training Methods for GANs do actually Converge?"
(arXiv 1801.04406, equation 9); path length, Karras et al. (arXiv 1912.04958, equation 4).

Gradients are taken with `torch.func.grad`, which torch.compile can compile; the classic
`autograd.grad(create_graph=True)` it cannot.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

PATH_LENGTH_DECAY = 0.01


def squared_gradient(
    discriminate: Callable[[Tensor], Tensor], images: Float[Tensor, "batch channels height width"]
) -> tuple[Float[Tensor, " batch"], Float[Tensor, "batch 1"]]:
    """Return |d D(x) / d x|^2 of every image, and the logits; both can be differentiated again."""

    def total(x: Tensor) -> tuple[Tensor, Tensor]:
        logits = discriminate(x)
        return logits.sum(), logits

    gradient, logits = torch.func.grad(total, has_aux=True)(images)
    return gradient.square().sum(dim=(1, 2, 3)), logits


def path_lengths(
    synthesize: Callable[[Tensor], Tensor],
    ws: Float[Tensor, "batch *latents num_ws w_dim"],
    directions: Float[Tensor, "batch channels height width"],
) -> Float[Tensor, " batch"]:
    """Return |J_w^T y| of every image, the root mean square over its style vectors.

    The styles of all latents of a layer are one vector. `directions`: y ~ N(0, 1) an image; divided
    here by the square root of its pixels.
    """
    scaled = directions / math.sqrt(directions.shape[2] * directions.shape[3])

    def projected(styles: Tensor) -> Tensor:
        return (synthesize(styles) * scaled).sum()

    gradient = torch.func.grad(projected)(ws)
    squares = gradient.square().sum(dim=-1)
    while squares.ndim > 2:  # noqa: PLR2004  # images, layers
        squares = squares.sum(dim=1)
    lengths: Tensor = squares.mean(dim=1).sqrt()
    return lengths


def path_length_penalty(
    lengths: Float[Tensor, " batch"],
    average: Float[Tensor, ""],
    overall: Float[Tensor, ""],
) -> Float[Tensor, ""]:
    """Return the mean of (length - a)^2, a the moving average with this step's lengths in it.

    `average`: a before this step; `overall`: the mean length of the whole batch, all of its shards.
    a depends on the lengths, and its gradient counts: sum_i (l_i - a)^2 / N with a moved by
    d mean(l) has the gradient 2 (l_k - a - d (mean(l) - a)) / N. That form needs no other shard's
    graph, so that shards of a batch have the gradients of the whole.
    """
    overall = overall.detach()
    moved = average + PATH_LENGTH_DECAY * (overall - average)
    residual = lengths.detach() - moved
    pull = residual - PATH_LENGTH_DECAY * (overall - moved)
    value = residual.square().mean()
    slope = 2 * (pull * (lengths - lengths.detach())).mean()
    return value + slope  # the slope is zero, its gradient is the penalty's


def moved_average(average: Float[Tensor, ""], overall: Float[Tensor, ""]) -> Float[Tensor, ""]:
    """Return the moving average of path lengths after a step whose mean length is `overall`."""
    return average + PATH_LENGTH_DECAY * (overall.detach() - average)
