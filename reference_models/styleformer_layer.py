"""The layers of a Styleformer: attention with style modulation, and the ablation's feed-forward.

Source: Park and Kim, "Styleformer" (CVPR 2022, arXiv 2106.07023, figure 2). Activations are
[batch, tokens, channels].
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from reference_models.activation import leaky_relu
from reference_models.attention import LINFORMER_TOKENS, attend, project_tokens
from reference_models.equalized import EqualizedLinear, activated
from reference_models.modulation import demodulation, per_sample, scaled_linear
from reference_models.noise import Noise, layer_noise
from reference_models.slicing import at_once
from reference_models.styleformer_config import StyleformerConfig
from reference_models.token_stream import TokenStream, filled

FIRST_LINFORMER_RESOLUTION = 32
NORM_EPSILON = 1e-5
FEED_FORWARD_EXPANSION = 4


class Kernels(Protocol):
    """Another way to compute a layer: see reference_models/native."""

    def take(self, w: Tensor) -> bool:
        """Return whether to compute these style vectors [batch, w_dim] so."""
        ...

    def layer(
        self,
        layer: StyleEncoderLayer,
        x: TokenStream,
        w: Tensor,
        noise: Noise,
        affine: EqualizedLinear | None,
    ) -> TokenStream:
        """Return what `StyleEncoderLayer.streamed` returns."""
        ...


class StyleEncoderLayer(nn.Module):
    """One attention layer with style modulation: [batch, tokens, C] -> [batch, tokens, C_out].

    Figure 2 of the paper: modulate, normalize, demodulated q, k, v, style value, attention,
    demodulated integration, modified residual, noise, bias, activation.
    """

    noise_const: Tensor
    kernels: Kernels | None = None
    """What computes the layer in inference in place of torch's operations, where that was asked."""

    def __init__(
        self, config: StyleformerConfig, *, resolution: int, inputs: int, outputs: int
    ) -> None:
        super().__init__()
        tokens = resolution * resolution
        self.config = config
        self.heads = config.heads(inputs)
        self.linformer = config.linformer and resolution >= FIRST_LINFORMER_RESOLUTION
        self.q_weight = nn.Parameter(torch.empty(inputs, inputs))
        self.k_weight = nn.Parameter(torch.empty(inputs, inputs))
        self.v_weight = nn.Parameter(torch.empty(inputs, inputs))
        self.w_weight = nn.Parameter(torch.empty(outputs, inputs))
        if self.linformer:
            self.proj_weight = nn.Parameter(torch.empty(LINFORMER_TOKENS, tokens))
        narrowing_identity = config.residual == "identity" and inputs != outputs
        if config.residual == "modulated-value" or narrowing_identity:
            self.u_weight = nn.Parameter(torch.empty(outputs, inputs))
        self.noise_strength = nn.Parameter(torch.empty(()))
        self.bias = nn.Parameter(torch.empty(outputs))
        self.register_buffer("noise_const", torch.empty(tokens, 1))
        if config.style_injection == "per-layer":
            self.affine1 = EqualizedLinear(config.w_dim, 2 * inputs, bias_init=1.0)
        if config.feed_forward:
            self.feed_forward = StyleFeedForward(config.w_dim, outputs)

    @property
    def keys(self) -> int:
        """Number of keys that a query attends to."""
        return LINFORMER_TOKENS if self.linformer else len(self.noise_const)

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draw the initial weights: uniform within 1/sqrt(fan-in), noise N(0, 1), strength 0."""
        for name, parameter in self.named_parameters(recurse=False):
            if name.endswith("weight"):
                bound = 1 / math.sqrt(parameter.shape[1])
                parameter.data.uniform_(-bound, bound, generator=generator)
        self.noise_strength.data.zero_()
        self.bias.data.zero_()
        self.noise_const.normal_(generator=generator)

    def forward(
        self,
        x: Float[Tensor, "batch tokens channels"],
        w: Float[Tensor, "batch w_dim"],
        noise: Noise,
        affine: EqualizedLinear | None = None,
    ) -> Float[Tensor, "batch tokens outputs"]:
        """Return the layer's output; `affine` is given when layers share their style injection."""
        return self.streamed(TokenStream.of(x), w, noise, affine).gathered()

    def streamed(
        self,
        x: TokenStream,
        w: Float[Tensor, "batch w_dim"],
        noise: Noise,
        affine: EqualizedLinear | None = None,
    ) -> TokenStream:
        """Return the layer's output, each slice of which is made when it is asked for.

        What every slice needs, the keys and values, is made here, in one pass over `x`.
        """
        if self.kernels is not None and self.kernels.take(w):
            return self.kernels.layer(self, x, w, noise, affine)
        style_in, style_value = (affine or self.affine1)(w).chunk(2, dim=1)
        entered = self.entered(x, style_in)
        # q k^T holds the factors of q and k as products only: q carries both.
        scale_q = demodulation(self.q_weight, style_in) * demodulation(self.k_weight, style_in)
        scale_v = demodulation(self.v_weight, style_in) * style_value
        keys = F.linear(entered.source, self.k_weight)
        values = scaled_linear(entered.source, self.v_weight, scale_v)
        query = per_sample(self.q_weight, scale_q, tokens=x.tokens)
        scale_w = demodulation(self.w_weight, style_value)
        integrate = per_sample(self.w_weight, scale_w, tokens=x.tokens)
        residual = self.residual(entered, values, scale_v, style_value)
        extra = layer_noise(noise, self.noise_const, self.noise_strength)

        def mixed(part: slice) -> Tensor:
            y = integrate(attend(query(entered.h[:, part]), keys, values, self.heads))
            noise_part = None if extra is None else extra[..., part, :]
            y = activated(residual(y, part), self.bias, noise_part, clamp=self.config.clamp)
            return self.feed_forward(y, w) if self.config.feed_forward else y

        return TokenStream(tokens=x.tokens, parts=x.parts, make=mixed, store=entered.h)

    def entered(self, x: TokenStream, style: Float[Tensor, "batch channels"]) -> Entered:
        """Return what one pass over the tokens gives: modulated, normalized, projected.

        Linformer: E (h K^T) = (E h) K^T, so h is projected, once for keys and values.
        """
        kept: list[Tensor] = []
        projected: list[Tensor] = []

        def normalized(part: slice) -> Tensor:
            tokens = x.make(part)
            if self.config.residual == "identity":
                kept.append(tokens)
            h = self.modulate_and_normalize(tokens, style)
            if self.linformer:
                projected.append(project_tokens(h, self.proj_weight[:, part]))
                if len(projected) > 1:
                    projected[0].add_(projected.pop())
            return h

        h = filled(x, normalized)
        source = projected[0] if self.linformer else h
        return Entered(h=h, source=source, x=torch.cat(kept, dim=1) if kept else None)

    def modulate_and_normalize(
        self, x: Float[Tensor, "batch tokens channels"], style: Float[Tensor, "batch channels"]
    ) -> Float[Tensor, "batch tokens channels"]:
        """Return the modulated input, normalized over the channels of each token (no affine)."""
        channels = (x.shape[2],)
        scale = style.unsqueeze(1)
        match self.config.pre_norm:
            case "after-modulation":
                return F.layer_norm(x * scale, channels, eps=NORM_EPSILON)
            case "before-modulation":
                return F.layer_norm(x, channels, eps=NORM_EPSILON) * scale
            case "none":
                return x * scale

    def residual(
        self,
        entered: Entered,
        values: Float[Tensor, "batch keys channels"],
        scale_v: Float[Tensor, "batch channels"],
        style_value: Float[Tensor, "batch channels"],
    ) -> Callable[[Tensor, slice], Tensor]:
        """Return what adds the configured residual to a slice of tokens.

        The paper's is the demodulated product of U with the styled value: v U^T. Linformer has no
        v of all tokens: there it is h (U V)^T.
        """
        x, h = entered.x, entered.h
        if self.config.residual == "none":
            return lambda y, _: y
        if x is not None:
            if self.w_weight.shape[0] == self.w_weight.shape[1]:
                return lambda y, part: y + x[:, part]
            return lambda y, part: y + F.linear(x[:, part], self.u_weight)
        scale_u = demodulation(self.u_weight, style_value)
        if not self.linformer:
            skip = per_sample(self.u_weight, scale_u, tokens=h.shape[1])
            return lambda y, part: y.add_(skip(values[:, part]))
        both = (self.u_weight * scale_u.unsqueeze(2)) @ (self.v_weight * scale_v.unsqueeze(2))
        turned = both.transpose(1, 2)

        def added(y: Tensor, part: slice) -> Tensor:
            # With a destination given, autocast converts nothing.
            tokens = h[:, part].to(y.dtype)
            return torch.baddbmm(y, tokens, turned, out=None if at_once(y) else y)

        return added


@dataclasses.dataclass(frozen=True, slots=True)
class Entered:
    """A layer's input: normalized `h`, the tokens of keys and values, and `x` where it is added."""

    h: Float[Tensor, "batch tokens channels"]
    source: Float[Tensor, "batch keys channels"]
    x: Float[Tensor, "batch tokens channels"] | None


class StyleFeedForward(nn.Module):
    """The ablation's feed-forward: two modulated, demodulated token-wise layers with a residual."""

    def __init__(self, w_dim: int, channels: int) -> None:
        super().__init__()
        hidden = FEED_FORWARD_EXPANSION * channels
        self.affine = EqualizedLinear(w_dim, channels, bias_init=1.0)
        self.up_weight = nn.Parameter(torch.empty(hidden, channels))
        self.down_weight = nn.Parameter(torch.empty(channels, hidden))
        self.up_bias = nn.Parameter(torch.empty(hidden))
        self.down_bias = nn.Parameter(torch.empty(channels))

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draw the initial weights: uniform within 1/sqrt(fan-in), biases 0."""
        for weight in (self.up_weight, self.down_weight):
            bound = 1 / math.sqrt(weight.shape[1])
            weight.data.uniform_(-bound, bound, generator=generator)
        self.up_bias.data.zero_()
        self.down_bias.data.zero_()

    def forward(
        self, x: Float[Tensor, "batch tokens channels"], w: Float[Tensor, "batch w_dim"]
    ) -> Float[Tensor, "batch tokens channels"]:
        """Return x + MLP(x ⊙ style)."""
        style = self.affine(w)
        h = F.layer_norm(x, (x.shape[2],), eps=NORM_EPSILON) * style.unsqueeze(1)
        h = h @ self.up_weight.T * demodulation(self.up_weight, style).unsqueeze(1)
        return x + F.linear(leaky_relu(h + self.up_bias), self.down_weight, self.down_bias)
