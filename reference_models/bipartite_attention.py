"""Bipartite attention: places of an image attend to a few latents (the GANsformer's "transformer").

Source: Hudson and Zitnick, "Generative Adversarial Transformers" (arXiv 2103.01209, section 3.1), as
the authors' PyTorch program computes it. Scores and integration are linear in features and values, so
the matrices of queries and of modulation act on the few latents, never on the many places: with N
places, T latents and C channels 4 N T C operations in place of 4 N C^2 + 4 N T C.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from reference_models.equalized import EqualizedLinear
from reference_models.gansformer_config import BipartiteConfig

EPSILON = 1e-8

Places = Float[Tensor, "batch places channels"]
Latents = Float[Tensor, "batch latents width"]


class Attended(NamedTuple):
    """Features, what each place attends to, and the share of a latent's attention that it has.

    `weights` [batch, heads, places, latents], `shares` [batch, heads, latents, places].
    """

    x: Tensor
    weights: Tensor
    shares: Tensor | None


class Gate(nn.Module):
    """A number in (0, 1) for each head, of features and positions."""

    def __init__(self, width: int, position_dim: int, heads: int) -> None:
        super().__init__()
        self.gate = EqualizedLinear(width, heads)
        self.gate_pos = EqualizedLinear(position_dim, heads)

    def forward(
        self,
        x: Float[Tensor, "batch rows width"],
        positions: Float[Tensor, "rows position_dim"] | None,
        shift: float,
    ) -> Float[Tensor, "batch heads rows"]:
        """Return the gates."""
        found = rows_of(self.gate, x) + shift
        if positions is not None:
            found = found + self.gate_pos(positions)
        return torch.sigmoid(found).transpose(1, 2)


def rows_of(layer: EqualizedLinear, x: Float[Tensor, "batch rows inputs"]) -> Tensor:
    """Return a layer of every row."""
    found: Tensor = layer(x.flatten(0, 1))
    return found.view(*x.shape[:2], -1)


def effective(layer: EqualizedLinear) -> tuple[Tensor, Tensor]:
    """Return weight [outputs, inputs] and bias [outputs] that a layer multiplies with and adds."""
    gain = layer.rate_multiplier / math.sqrt(layer.weight.shape[1])
    return layer.weight * gain, layer.bias * layer.rate_multiplier


class BipartiteAttention(nn.Module):
    """Places [batch, N, from_dim] and latents [batch, T, to_dim] -> places, integrated."""

    def __init__(
        self,
        config: BipartiteConfig,
        *,
        channels: int,
        to_dim: int,
        from_pos_dim: int,
        to_pos_dim: int,
        latents: int,
    ) -> None:
        super().__init__()
        self.config, self.channels = config, channels
        heads = config.heads
        self.to_queries = EqualizedLinear(channels, channels)
        self.to_keys = EqualizedLinear(to_dim, channels)
        self.to_values = EqualizedLinear(to_dim, channels)
        self.from_pos_map = EqualizedLinear(from_pos_dim, channels)
        self.to_pos_map = EqualizedLinear(to_pos_dim, channels)
        if config.latent_gate:
            self.to_gate_attention = Gate(to_dim, to_pos_dim, heads)
        if config.image_gate:
            self.from_gate_attention = Gate(channels, from_pos_dim, heads)
        factor = 2 if config.integration == "both" else 1
        self.modulation = EqualizedLinear(channels, factor * channels)
        if config.duplex:
            width = 2 * channels // heads
            self.att_weight = nn.Parameter(torch.empty(heads, 1, width))
            if config.iterative:
                self.queries2centroids = EqualizedLinear(channels, channels * heads)
            else:
                self.centroids = nn.Parameter(torch.empty(1, heads, latents, width))

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Weights of scores start at 1, centroids as N(0, 1)."""
        if self.config.duplex:
            self.att_weight.data.fill_(1.0)
            if not self.config.iterative:
                self.centroids.data.normal_(generator=generator)

    def forward(
        self,
        x: Places,
        y: Latents,
        x_positions: Float[Tensor, "places from_pos_dim"] | None,
        y_positions: Float[Tensor, "latents to_pos_dim"] | None,
        shares: Float[Tensor, "batch heads latents places_before"] | None = None,
    ) -> Attended:
        """Return features and attention; `shares`: of the layer before, for iterative centroids."""
        config = self.config
        if config.duplex:
            scores = self.duplex_scores(x, y.shape[1], x_positions, shares)
        elif self.as_written(x):
            keys = self.keys(y, y_positions)
            queries = rows_of(self.to_queries, x) + self.position_part(x_positions, x.shape[1])
            scores = torch.matmul(self.heads_of(queries), self.heads_of(keys).transpose(2, 3))
            scores = scores * self.temperature**config.rounds
        else:
            scores = self.simplex_scores(x, y, x_positions, y_positions)
        weights = self.gated(self.dropped(scores.softmax(dim=3)), x, y, x_positions, y_positions)
        left = None
        if config.iterative:
            left = assignments(weights)
        return Attended(self.integrated(x, weights, y), weights, left)

    def heads_of(
        self, x: Float[Tensor, "batch rows width"]
    ) -> Float[Tensor, "batch heads rows part"]:
        """Return rows divided into heads of consecutive channels."""
        return x.view(*x.shape[:2], self.config.heads, -1).transpose(1, 2)

    @staticmethod
    def as_written(x: Tensor) -> bool:
        """Return whether to do what the paper writes down: on the meta device, where it is counted."""
        return x.is_meta

    def keys(self, y: Latents, positions: Tensor | None) -> Float[Tensor, "batch latents channels"]:
        """Return the key of each latent."""
        found = rows_of(self.to_keys, y)
        return found if positions is None else found + self.to_pos_map(positions)

    @property
    def temperature(self) -> float:
        """What scores are multiplied with."""
        return 1 / math.sqrt(self.channels / self.config.heads)

    def position_part(
        self, positions: Float[Tensor, "places from_pos_dim"] | None, places: int
    ) -> Float[Tensor, "places channels"]:
        """Return what positions add to the queries of every image."""
        if positions is None:
            return self.to_queries.bias.new_zeros(places, self.channels)
        found: Tensor = self.from_pos_map(positions)
        return found

    def simplex_scores(
        self,
        x: Places,
        y: Latents,
        x_positions: Tensor | None,
        y_positions: Tensor | None,
    ) -> Float[Tensor, "batch heads places latents"]:
        """Return (W x + b + p) . key over sqrt(d): the matrix is applied to the keys."""
        weight, bias = effective(self.to_queries)
        heads = self.heads_of(self.keys(y, y_positions))
        # [batch, heads, latents, channels]: the part of the matrix that makes each head's queries.
        by_head = weight.view(self.config.heads, -1, weight.shape[1])
        moved = torch.matmul(heads, by_head)
        constant = self.position_part(x_positions, x.shape[1]) + bias
        parts = constant.view(1, x.shape[1], self.config.heads, -1).transpose(1, 2)
        base = torch.matmul(parts, heads.transpose(2, 3))
        scores = base + torch.matmul(x.unsqueeze(1), moved.transpose(2, 3))
        return scores * self.temperature**self.config.rounds

    def duplex_scores(
        self,
        x: Places,
        latents: int,
        x_positions: Tensor | None,
        shares: Tensor | None,
    ) -> Float[Tensor, "batch heads places latents"]:
        """Return scores of content and position against centroids, after the rounds of k-means."""
        config = self.config
        positions = self.position_part(x_positions, x.shape[1])
        simple = not config.iterative and config.rounds == 1 and config.heads == 1
        if simple and not self.as_written(x):
            return self.fixed_scores(x, positions)
        queries = rows_of(self.to_queries, x)
        content = torch.cat([queries, positions.expand_as(queries)], dim=2)
        elements = self.heads_of(content)
        if not config.iterative:
            centroids = self.centroids.expand(x.shape[0], -1, -1, -1)
        elif shares is None:
            drawn = rows_of(self.queries2centroids, queries + positions)
            centroids = drawn.reshape(x.shape[0], latents, config.heads, -1).transpose(1, 2)
        else:
            centroids = torch.matmul(grown(shares, x.shape[1]), elements)
        scores = torch.matmul(elements * self.att_weight, centroids.transpose(2, 3))
        scores = scores * self.temperature
        for _ in range(config.rounds - 1):
            centroids = torch.matmul(assignments(scores.softmax(dim=3)), elements)
            scores = torch.matmul(elements * self.att_weight, centroids.transpose(2, 3))
            scores = scores * self.temperature
        return scores

    def fixed_scores(
        self, x: Places, positions: Float[Tensor, "places channels"]
    ) -> Float[Tensor, "batch 1 places latents"]:
        """Return scores against learnt centroids: one matrix of all images, and one of all places."""
        weighted = (self.centroids[0, 0] * self.att_weight[0]) * self.temperature
        of_content, of_position = weighted.chunk(2, dim=1)
        weight, bias = effective(self.to_queries)
        base = positions @ of_position.T + of_content @ bias
        scores = torch.baddbmm(
            base.expand(x.shape[0], -1, -1), x, (of_content @ weight).T.expand(x.shape[0], -1, -1)
        )
        return scores.unsqueeze(1)

    def dropped(self, weights: Tensor) -> Tensor:
        """Return attention with some of it left out, while training: single weights, whole latents."""
        rate = self.config.dropout / 2
        if not self.training or not rate:
            return weights
        batch, heads, _, latents = weights.shape
        whole = F.dropout(weights.new_ones(batch, heads, 1, latents), rate)
        return F.dropout(weights, rate) * whole

    def gated(
        self,
        weights: Tensor,
        x: Places,
        y: Latents,
        x_positions: Tensor | None,
        y_positions: Tensor | None,
    ) -> Tensor:
        """Return attention times its gates."""
        if self.config.latent_gate:
            weights = weights * self.to_gate_attention(y, y_positions, 0.0).unsqueeze(2)
        if self.config.image_gate:
            weights = weights * self.from_gate_attention(x, x_positions, 1.0).unsqueeze(3)
        return weights

    def integrated(self, x: Places, weights: Tensor, y: Latents) -> Places:
        """Return the features, shifted or scaled by what they attend to."""
        values = self.heads_of(rows_of(self.to_values, y))
        if self.as_written(x):
            control = torch.matmul(weights, values).transpose(1, 2).flatten(2)
            u = rows_of(self.modulation, control)
        else:
            u = self.modulated(weights, values)
        kind = self.config.integration
        x = normalized(x, kind, self.config.norm)
        if kind == "add":
            return x + u
        if kind == "mul":
            return torch.addcmul(x, x, u)
        gain, shift = u.chunk(2, dim=2)
        return torch.addcmul(x, x, gain) + shift

    def modulated(
        self,
        weights: Float[Tensor, "batch heads places latents"],
        values: Float[Tensor, "batch heads latents part"],
    ) -> Float[Tensor, "batch places outputs"]:
        """Return W (sum of weighted values) + b: the matrix is applied to the values."""
        weight, bias = effective(self.modulation)
        # Each head's values, carried by its part of the matrix: [batch, heads, latents, outputs].
        by_head = weight.view(len(weight), self.config.heads, -1).permute(1, 2, 0)
        carried = torch.matmul(values, by_head)
        batch, heads, places, latents = weights.shape
        rows = weights.transpose(1, 2).reshape(batch, places, heads * latents)
        return torch.baddbmm(bias.expand(batch, 1, -1), rows, carried.flatten(1, 2))


def normalized(x: Places, kind: str, norm: str | None) -> Places:
    """Return features without their mean (add), over their root mean square (mul), or both."""
    if norm is None:
        return x
    dim = 1 if norm == "instance" else 2
    if kind != "mul":
        x = x - x.mean(dim=dim, keepdim=True)
    if kind != "add":
        x = x * (x.square().mean(dim=dim, keepdim=True) + EPSILON).rsqrt()
    return x


def assignments(
    weights: Float[Tensor, "batch heads places latents"],
) -> Float[Tensor, "batch heads latents places"]:
    """Return the share of each latent's attention that every place has."""
    return (weights / (weights.sum(dim=2, keepdim=True) + EPSILON)).transpose(2, 3)


def grown(shares: Float[Tensor, "batch heads latents before"], places: int) -> Tensor:
    """Return shares at twice the size, where the layer has more places: values are repeated."""
    batch, heads, latents, before = shares.shape
    if before == places:
        return shares
    side = math.isqrt(before)
    maps = shares.reshape(batch, heads * latents, side, side)
    larger = F.interpolate(maps, size=(math.isqrt(places),) * 2, mode="nearest")
    return larger.view(batch, heads, latents, places)
