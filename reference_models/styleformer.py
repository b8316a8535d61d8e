"""Styleformer: a style-based generator of transformer encoder layers, without convolution.

Source: Park and Kim, "Styleformer: Transformer based Generative Adversarial Networks with Style
Vector" (CVPR 2022, arXiv 2106.07023). Behaviour that only the released program shows (and the
ablation switches, whose definition is ours) is listed in reference_models/README.md.

Activations are [batch, tokens, channels], tokens in row-major order of the image.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from reference_models.attention import LINFORMER_TOKENS, attend, project_tokens
from reference_models.equalized import EqualizedLinear, leaky_relu
from reference_models.modulation import demodulation
from reference_models.noise import Noise, layer_noise
from reference_models.resampling import upsample2d
from reference_models.style_generator import StyleGenerator
from reference_models.styleformer_config import StyleformerConfig
from reference_models.tokens import sinusoidal_position_encoding, tokens_to_map, upsample_tokens

FIRST_LINFORMER_RESOLUTION = 32
NORM_EPSILON = 1e-5
FEED_FORWARD_EXPANSION = 4


class StyleEncoderLayer(nn.Module):
    """One attention layer with style modulation: [batch, tokens, C] -> [batch, tokens, C_out].

    Figure 2 of the paper: modulate, normalise, demodulated q, k, v, style value, attention,
    demodulated integration, modified residual, noise, bias, activation.
    """

    noise_const: Tensor

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
        style_in, style_value = (affine or self.affine1)(w).chunk(2, dim=1)
        h = self.modulate_and_normalise(x, style_in)
        q = h @ self.q_weight.T * demodulation(self.q_weight, style_in).unsqueeze(1)
        k = h @ self.k_weight.T * demodulation(self.k_weight, style_in).unsqueeze(1)
        v = h @ self.v_weight.T
        v = v * (demodulation(self.v_weight, style_in) * style_value).unsqueeze(1)
        if self.linformer:
            keys, values = (
                project_tokens(k, self.proj_weight),
                project_tokens(v, self.proj_weight),
            )
        else:
            keys, values = k, v
        mixed = attend(q, keys, values, self.heads)
        y = mixed @ self.w_weight.T * demodulation(self.w_weight, style_value).unsqueeze(1)
        y = self.add_residual(y, x, v, style_value)
        extra = layer_noise(noise, self.noise_const, self.noise_strength)
        if extra is not None:
            y = y + extra
        y = leaky_relu(y + self.bias, gain=1.0, clamp=self.config.clamp)
        return self.feed_forward(y, w) if self.config.feed_forward else y

    def modulate_and_normalise(
        self, x: Float[Tensor, "batch tokens channels"], style: Float[Tensor, "batch channels"]
    ) -> Float[Tensor, "batch tokens channels"]:
        """Return the modulated input, normalised over the channels of each token (no affine)."""
        channels = (x.shape[2],)
        scale = style.unsqueeze(1)
        match self.config.pre_norm:
            case "after-modulation":
                return F.layer_norm(x * scale, channels, eps=NORM_EPSILON)
            case "before-modulation":
                return F.layer_norm(x, channels, eps=NORM_EPSILON) * scale
            case "none":
                return x * scale

    def add_residual(
        self,
        y: Float[Tensor, "batch tokens outputs"],
        x: Float[Tensor, "batch tokens channels"],
        v: Float[Tensor, "batch tokens channels"],
        style_value: Float[Tensor, "batch channels"],
    ) -> Float[Tensor, "batch tokens outputs"]:
        """Return y plus the configured residual (the paper's: demodulated U of the styled value)."""
        match self.config.residual:
            case "modulated-value":
                scale = demodulation(self.u_weight, style_value).unsqueeze(1)
                return torch.addcmul(y, v @ self.u_weight.T, scale)
            case "identity":
                return y + (x @ self.u_weight.T if y.shape[2] != x.shape[2] else x)
            case "none":
                return y


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


class TokensToRGB(nn.Module):
    """Colour layer: [batch, tokens, C] -> [batch, image channels, side, side], demodulated."""

    def __init__(self, w_dim: int, channels: int, image_channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(image_channels, channels))
        self.bias = nn.Parameter(torch.empty(image_channels))
        self.affine = EqualizedLinear(w_dim, channels, bias_init=1.0)

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draw the initial weights: uniform within 1/sqrt(channels), bias 0."""
        bound = 1 / math.sqrt(self.weight.shape[1])
        self.weight.data.uniform_(-bound, bound, generator=generator)
        self.bias.data.zero_()

    def forward(
        self, x: Float[Tensor, "batch tokens channels"], w: Float[Tensor, "batch w_dim"]
    ) -> Float[Tensor, "batch image_channels side side"]:
        """Return the image of this resolution (never clamped)."""
        style = self.affine(w)
        y = (x * style.unsqueeze(1)) @ self.weight.T * demodulation(self.weight, style).unsqueeze(1)
        return tokens_to_map(y + self.bias)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a block stands: `resolution` index, and whether it opens or closes anything."""

    name: str
    resolution: int
    first_of_all: bool
    first_of_resolution: bool
    last_of_resolution: bool


class StyleBlock(nn.Module):
    """One encoder layer, with what its place asks for: constant, position encoding, colour layer."""

    def __init__(
        self,
        config: StyleformerConfig,
        *,
        resolution: int,
        inputs: int,
        outputs: int,
        place: Place,
    ) -> None:
        super().__init__()
        tokens = resolution * resolution
        self.place = place
        self.position_encoding = config.position_encoding if place.first_of_resolution else "none"
        if place.first_of_all:
            self.const = nn.Parameter(torch.empty(tokens, inputs))
        if self.position_encoding == "learned":
            self.pos_embedding = nn.Parameter(torch.empty(1, tokens, inputs))
        if self.position_encoding == "sinusoidal":
            code = sinusoidal_position_encoding(resolution, inputs)
            self.register_buffer("pos_embedding", code, persistent=False)
        self.enc = StyleEncoderLayer(config, resolution=resolution, inputs=inputs, outputs=outputs)
        if place.last_of_resolution:
            self.torgb = TokensToRGB(config.w_dim, outputs, config.image_channels)

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draw the constant input from N(0, 1); the learned position encoding starts at 0."""
        if self.place.first_of_all:
            self.const.data.normal_(generator=generator)
        if self.position_encoding == "learned":
            self.pos_embedding.data.zero_()

    def forward(
        self,
        x: Float[Tensor, "batch tokens channels"],
        w: Float[Tensor, "batch w_dim"],
        noise: Noise,
        affine: EqualizedLinear | None = None,
    ) -> Float[Tensor, "batch tokens outputs"]:
        """Return the tokens after this block's attention layer."""
        if self.position_encoding != "none":
            x = x + self.pos_embedding
        return self.enc(x, w, noise, affine)  # type: ignore[no-any-return]  # nn.Module.__call__


class StyleformerSynthesis(nn.Module):
    """Style vectors [batch, num_ws, w_dim] -> images [batch, channels, R, R]."""

    def __init__(self, config: StyleformerConfig) -> None:
        super().__init__()
        self.config = config
        self.places: list[Place] = []
        for index, (resolution, count) in enumerate(
            zip(config.resolutions, config.layers, strict=True)
        ):
            width = config.widths[index]
            next_width = config.widths[min(index + 1, len(config.widths) - 1)]
            if config.style_injection == "shared":
                shared = EqualizedLinear(config.w_dim, 2 * width, bias_init=1.0)
                self.add_module(f"b{resolution}_affine", shared)
            for layer in range(count):
                place = Place(
                    name=f"b{resolution}_{layer}",
                    resolution=resolution,
                    first_of_all=not self.places,
                    first_of_resolution=layer == 0,
                    last_of_resolution=layer == count - 1,
                )
                block = StyleBlock(
                    config,
                    resolution=resolution,
                    inputs=width,
                    outputs=next_width if place.last_of_resolution else width,
                    place=place,
                )
                self.places.append(place)
                self.add_module(place.name, block)

    @property
    def noise_shapes(self) -> list[tuple[int, ...]]:
        """Shape of one image's noise in each layer."""
        return [(place.resolution**2, 1) for place in self.places]

    def forward(
        self, ws: Float[Tensor, "batch num_ws w_dim"], noise: Noise | Sequence[Tensor] = "const"
    ) -> Float[Tensor, "batch image_channels side side"]:
        """Return images in about [-1, 1] (not clamped).

        `noise`: "const" (the stored maps), "none", or one tensor [batch, tokens, 1] a layer.
        """
        _, image = self.features(ws, noise)
        return image

    def block(self, place: Place) -> StyleBlock:
        """Return the block that stands there."""
        block = self.get_submodule(place.name)
        if not isinstance(block, StyleBlock):
            msg = f"{place.name} is not a StyleBlock"
            raise TypeError(msg)
        return block

    def features(
        self, ws: Float[Tensor, "batch num_ws w_dim"], noise: Noise | Sequence[Tensor]
    ) -> tuple[
        Float[Tensor, "batch tokens channels"], Float[Tensor, "batch image_channels side side"]
    ]:
        """Return the last tokens and the image; Styleformer-C goes on from both."""
        x = self.block(self.places[0]).const.expand(len(ws), -1, -1)
        image: Tensor | None = None
        for index, place in enumerate(self.places):
            block = self.block(place)
            affine: nn.Module | None = None
            if self.config.style_injection == "shared":
                affine = self.get_submodule(f"b{place.resolution}_affine")
            chosen = noise if isinstance(noise, str | Tensor) else noise[index]
            x = block(x, ws[:, index], chosen, affine)
            if place.last_of_resolution:
                rgb = block.torgb(x, ws[:, index + 1])
                image = rgb if image is None else upsample2d(image) + rgb
                if place.resolution != self.config.resolution:
                    x = upsample_tokens(x)
        assert image is not None  # noqa: S101  # the config has at least one resolution
        return x, image


class Styleformer(StyleGenerator):
    """The generator: latents [batch, z_dim] (and labels [batch, c_dim]) -> images."""

    def __init__(self, config: StyleformerConfig) -> None:
        synthesis = StyleformerSynthesis(config)
        super().__init__(
            config,
            synthesis=synthesis,
            num_ws=config.num_ws,
            noise_shapes=synthesis.noise_shapes,
        )
        self.config = config
