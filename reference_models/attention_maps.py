"""The attention weights of Styleformer's layers, as numbers to look at.

The fused kernels that make images never hold them; here they are made again from what entered a
layer, for the queries asked for alone. Sources as in `attention`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from reference_models.attention import project_tokens, split_heads
from reference_models.equalized import EqualizedLinear
from reference_models.modulation import demodulation
from reference_models.noise import Noise
from reference_models.styleformer import Place, StyleformerSynthesis
from reference_models.styleformer_layer import StyleEncoderLayer
from reference_models.token_stream import TokenStream


def layers_of(module: nn.Module) -> list[tuple[Place, StyleEncoderLayer]]:
    """Return the attention layers of a generator, in order."""
    (synthesis,) = (part for part in module.modules() if isinstance(part, StyleformerSynthesis))
    return [(place, synthesis.block(place).enc) for place in synthesis.places]


@dataclasses.dataclass(slots=True)
class CapturedAttention:
    """What entered a layer, one entry a slice of the batch."""

    layer: StyleEncoderLayer
    entered: list[tuple[Tensor, Tensor, EqualizedLinear | None]]

    def attention(self, queries: Sequence[int]) -> tuple[Tensor, Tensor | None]:
        """Return the weights [batch, heads, queries, keys], and the projection of the keys."""
        weights = [attention_weights(self.layer, x, w, queries, a) for x, w, a in self.entered]
        return torch.cat(weights), self.layer.proj_weight if self.layer.linformer else None


@contextlib.contextmanager
def captured(module: nn.Module, name: str) -> Iterator[CapturedAttention]:
    """Remember what enters the layer of that name while images are made.

    Raises KeyError for a name that no layer has.
    """
    layer = {place.name: layer for place, layer in layers_of(module)}[name]
    seen = CapturedAttention(layer, [])

    streamed = layer.streamed

    def remember(
        x: TokenStream, w: Tensor, noise: Noise, affine: EqualizedLinear | None = None
    ) -> TokenStream:
        tokens = x.gathered()
        seen.entered.append((tokens.clone(), w.clone(), affine))
        return streamed(TokenStream.of(tokens), w, noise, affine)

    # Not a hook: a CPU calls a layer of large maps slice by slice, not as a module.
    layer.streamed = remember  # type: ignore[method-assign]
    try:
        yield seen
    finally:
        del layer.streamed


def attention_weights(
    layer: StyleEncoderLayer,
    x: Float[Tensor, "batch tokens channels"],
    w: Float[Tensor, "batch w_dim"],
    queries: Sequence[int],
    affine: EqualizedLinear | None = None,
) -> Float[Tensor, "batch heads queries keys"]:
    """Return softmax(q k^T / sqrt(width)) of these query tokens; each row adds up to 1.

    `affine` is given when layers share their style injection.
    """
    style, _ = (affine or layer.affine1)(w).chunk(2, dim=1)
    h = layer.modulate_and_normalize(x, style)
    source = project_tokens(h, layer.proj_weight) if layer.linformer else h
    q = F.linear(h[:, list(queries)], layer.q_weight)
    q = q * demodulation(layer.q_weight, style).unsqueeze(1)
    k = F.linear(source, layer.k_weight) * demodulation(layer.k_weight, style).unsqueeze(1)
    q, k = split_heads(q, layer.heads), split_heads(k, layer.heads)
    return (q @ k.transpose(2, 3) / math.sqrt(q.shape[3])).softmax(dim=3)
