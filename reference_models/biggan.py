"""BigGAN and BigGAN-deep: residual convolutions, conditioned through batch norm, with attention.

Source: Brock, Donahue and Simonyan, "Large Scale GAN Training for High Fidelity Natural Image
Synthesis" (arXiv 1809.11096), figures 15 and 16; attention of Zhang et al. (arXiv 1805.08318).
Tensor names are those of the authors' PyTorch code.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from reference_models.batch_norm import ConditionalNorm, PlainNorm, StandingStatistics
from reference_models.biggan_config import START_SIDE, BigGANConfig
from reference_models.doubling import doubled
from reference_models.slicing import at_once, by_slices, image_slices, slices
from reference_models.spectral_norm import (
    SpectralConv2d,
    SpectralLayer,
    SpectralLinear,
    SpectralNorm,
)

IMAGE_CHANNELS = 3
TOGETHER = 4096
"""Pixels of a batch that a CPU works on at once."""
SLICE_QUERIES = 256
"""Positions that attend at once on a CPU."""
OUTPUT_EPS = 1e-5
"""Of the last norm, whatever that of the others."""

Map = Float[Tensor, "batch channels height width"]
Condition = Float[Tensor, "batch condition"]


class Parts:
    """Makes layers as a configuration has them."""

    def __init__(self, config: BigGANConfig) -> None:
        self.config = config
        self.norm = None
        if config.spectral:
            self.norm = SpectralNorm(
                eps=config.spectral_eps,
                singular_values=config.singular_values,
                iterations=config.power_iterations,
            )

    def convolution(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
    ) -> SpectralConv2d:
        """Return a convolution."""
        return SpectralConv2d(self.norm, inputs, outputs, kernel)

    def conditional_norm(self, channels: int) -> ConditionalNorm:
        """Return a conditional norm."""
        config = self.config
        return ConditionalNorm(
            channels,
            config.condition,
            config.norm_eps,
            self.norm,
            standing=config.own_norm,
            table=config.shared_dim is None,
        )


class Block(nn.Module):
    """BigGAN's residual block, which doubles the size (figure 15b)."""

    def __init__(self, parts: Parts, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = parts.convolution(inputs, outputs, 3)
        self.conv2 = parts.convolution(outputs, outputs, 3)
        self.conv_sc = parts.convolution(inputs, outputs, 1)
        self.bn1 = parts.conditional_norm(inputs)
        self.bn2 = parts.conditional_norm(outputs)

    def forward(
        self, x: Map, condition: Condition
    ) -> Float[Tensor, "batch outputs double_height double_width"]:
        """Return the map at twice the size."""
        y: Tensor = self.conv1.of_doubled(F.relu(self.bn1(x, condition)))
        y = self.conv2(F.relu(self.bn2(y, condition)))
        return y + self.conv_sc.of_doubled(x)


class DeepBlock(nn.Module):
    """BigGAN-deep's bottleneck block (figure 16b); `up`: whether it doubles the size."""

    def __init__(self, parts: Parts, inputs: int, outputs: int, *, up: bool) -> None:
        super().__init__()
        self.outputs, self.up = outputs, up
        hidden = inputs // 4
        self.conv1 = parts.convolution(inputs, hidden, 1)
        self.conv2 = parts.convolution(hidden, hidden, 3)
        self.conv3 = parts.convolution(hidden, hidden, 3)
        self.conv4 = parts.convolution(hidden, outputs, 1)
        self.bn1 = parts.conditional_norm(inputs)
        self.bn2 = parts.conditional_norm(hidden)
        self.bn3 = parts.conditional_norm(hidden)
        self.bn4 = parts.conditional_norm(hidden)

    def forward(self, x: Map, condition: Condition) -> Float[Tensor, "batch outputs rows columns"]:
        """Return the map; of the input the first channels are kept."""
        y: Tensor = self.conv1(F.relu(self.bn1(x, condition)))
        y = F.relu(self.bn2(y, condition))
        y = self.conv2.of_doubled(y) if self.up else self.conv2(y)
        y = self.conv3(F.relu(self.bn3(y, condition)))
        y = self.conv4(F.relu(self.bn4(y, condition)))
        kept = x[:, : self.outputs]
        return y + (doubled(kept) if self.up else kept)


class Attention(nn.Module):
    """Self-attention over positions, keys and values at half the size; `gamma` starts at 0."""

    def __init__(self, norm: SpectralNorm | None, channels: int) -> None:
        super().__init__()
        self.theta = SpectralConv2d(norm, channels, channels // 8, 1, bias=False)
        self.phi = SpectralConv2d(norm, channels, channels // 8, 1, bias=False)
        self.g = SpectralConv2d(norm, channels, channels // 2, 1, bias=False)
        self.o = SpectralConv2d(norm, channels // 2, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Map) -> Map:
        """Return the map with what it attends to."""
        value = F.max_pool2d(self.g(x), 2).flatten(2).transpose(1, 2)
        y = attended(*self.scored(x), value).transpose(1, 2).reshape(x.shape[0], -1, *x.shape[2:])
        return torch.addcmul(x, self.gamma, self.o(y))

    def scored(
        self, x: Map
    ) -> tuple[Float[Tensor, "batch positions part"], Float[Tensor, "batch places part"]]:
        """Return queries and keys."""
        query, key = self.theta(x), F.max_pool2d(self.phi(x), 2)
        return query.flatten(2).transpose(1, 2), key.flatten(2).transpose(1, 2)


def attended(
    query: Float[Tensor, "batch positions width"],
    key: Float[Tensor, "batch places width"],
    value: Float[Tensor, "batch places value_width"],
) -> Float[Tensor, "batch positions value_width"]:
    """Return the values, weighted by the softmax of products that are not scaled.

    torch has no fused attention on CPUs for values wider than keys: there it goes slice by slice.
    """
    if at_once(query):
        one, two, three = (part.unsqueeze(1) for part in (query, key, value))  # as one head
        return F.scaled_dot_product_attention(one, two, three, scale=1.0).squeeze(1)
    whole = torch.empty(*query.shape[:2], value.shape[2], dtype=value.dtype)
    turned = key.transpose(1, 2)
    for part in slices(query.shape[1], SLICE_QUERIES):
        whole[:, part] = torch.bmm(torch.bmm(query[:, part], turned).softmax(dim=2), value)
    return whole


class BigGAN(nn.Module):
    """Latents [batch, z_dim] and classes -> images [batch, 3, R, R] in [-1, 1].

    In training an image depends on its whole batch (see `batch_norm`).
    """

    weights_read: tuple[str, ...] = ()
    """What was taken off a file of weights to get its tensors."""

    def __init__(self, config: BigGANConfig) -> None:
        super().__init__()
        self.config = config
        parts = Parts(config)
        if config.shared_dim is not None:
            self.shared = nn.Embedding(config.classes, config.shared_dim)
        self.linear = SpectralLinear(parts.norm, config.first, config.inputs[0] * START_SIDE**2)
        self.blocks = nn.ModuleList()
        for inputs, outputs, side in zip(config.inputs, config.outputs, config.sides, strict=True):
            blocks: list[nn.Module] = (
                [
                    DeepBlock(parts, inputs, outputs if last else inputs, up=last)
                    for last in (place == config.depth - 1 for place in range(config.depth))
                ]
                if config.deep
                else [Block(parts, inputs, outputs)]
            )
            self.blocks.extend(nn.ModuleList([block]) for block in blocks)
            if side in config.attention:
                last_stage: nn.ModuleList = self.blocks[-1]  # type: ignore[assignment]  # of lists
                last_stage.append(Attention(parts.norm, outputs))
        last_width = config.outputs[-1]
        self.output_layer = nn.Sequential(
            PlainNorm(last_width, OUTPUT_EPS, standing=config.own_norm),
            nn.ReLU(),
            parts.convolution(last_width, IMAGE_CHANNELS, 3),
        )

    def embedded(
        self, c: Float[Tensor, "batch classes"] | Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch width"]:
        """Return the embedding of classes, one-hot (or shares of several) or numbers."""
        if not c.is_floating_point():
            c = F.one_hot(c, self.config.classes).to(self.linear.weight.dtype)
        return c @ self.shared.weight if self.config.shared_dim is not None else c

    def conditions(
        self, z: Float[Tensor, "batch z_dim"], embedding: Float[Tensor, "batch width"]
    ) -> tuple[Tensor, list[Tensor]]:
        """Return what the first layer takes, and the condition of each stage."""
        config = self.config
        stages = len(config.inputs)
        if config.deep:
            whole = torch.cat([embedding, z], dim=1)
            return whole, [whole] * stages
        if not config.hierarchical:
            return z, [embedding] * stages
        first, *others = torch.split(z, config.chunk, dim=1)
        return first, [torch.cat([embedding, part], dim=1) for part in others]

    def forward(
        self,
        z: Float[Tensor, "batch z_dim"],
        c: Float[Tensor, "batch classes"] | Int[Tensor, " batch"],
    ) -> Float[Tensor, "batch 3 side side"]:
        """Return images."""
        first, conditions = self.conditions(z, self.embedded(c))
        x: Tensor = self.linear(first)
        return self.grown(x.view(x.shape[0], -1, START_SIDE, START_SIDE), conditions, 0)

    def grown(self, x: Map, conditions: Sequence[Tensor], first: int) -> Tensor:
        """Return the images of a map that enters block number `first`.

        On a CPU a few of them at a time, from each resolution to the last: their maps are then small.
        """
        per_stage = len(self.blocks) // len(conditions)
        for place in range(first, len(self.blocks)):
            parts = image_slices(x, 4 * x.shape[2] * x.shape[3], TOGETHER)
            # Statistics of a batch are of all of it.
            if len(parts) > 1 and not self.training:
                return self.by_parts(x, conditions, place, parts)
            for part in self.blocks[place].children():
                x = (
                    part(x)
                    if isinstance(part, Attention)
                    else part(x, conditions[place // per_stage])
                )
        return torch.tanh(self.output_layer(x))

    def by_parts(
        self, x: Map, conditions: Sequence[Tensor], place: int, parts: Sequence[slice]
    ) -> Tensor:
        """Return the images of a map, part by part of the batch."""
        return by_slices(
            lambda part: self.grown(x[part], [one[part] for one in conditions], place),
            parts,
            dim=0,
            length=x.shape[0],
        )

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draw weights as the authors do; biases are torch's own, gamma is 0, gains are 1."""
        for module in self.modules():
            if isinstance(module, nn.Embedding | SpectralLayer):
                draw(module.weight, self.config.initialization, generator)
            if isinstance(module, SpectralLayer):
                module.reset_estimate(generator)
                if module.bias is not None:
                    bound = 1 / math.sqrt(module.weight[0].numel())
                    module.bias.data.uniform_(-bound, bound, generator=generator)


def draw(weight: Tensor, way: str, generator: torch.Generator) -> None:
    """Fill a weight, as a matrix [outputs, rest], with orthogonal or other random numbers."""
    with torch.no_grad():
        if way == "orthogonal":
            nn.init.orthogonal_(weight, generator=generator)
        elif way == "normal":
            nn.init.normal_(weight, 0, 0.02, generator=generator)
        else:
            nn.init.xavier_uniform_(weight, generator=generator)


def resume_standing(module: BigGAN) -> None:
    """Let norms stand whose sums a file brought along: their statistics are those over the counter."""
    for one in module.modules():
        if isinstance(one, StandingStatistics) and one.accumulation_counter.item() > 0:
            one.standing = True


def accumulate_standing(module: BigGAN, batches: Sequence[tuple[Tensor, Tensor]]) -> None:
    """Let the norms stand on the statistics of these batches of z and classes; evaluation uses them.

    Each batch also moves the estimates of the spectral norms, as in the authors' code. Raises
    ValueError for norms that cannot.
    """
    standing = [one for one in module.modules() if isinstance(one, StandingStatistics)]
    if not standing or not batches:
        msg = "standing statistics need norms of their own (own_norm) and at least one batch"
        raise ValueError(msg)
    for one in standing:
        one.begin_standing()
    module.train()
    with torch.no_grad():
        for z, c in batches:
            module(z, c)
    module.eval()
