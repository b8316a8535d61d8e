"""Styleformer: a style-based generator of transformer encoder layers, without convolution.

Source: Park and Kim, "Styleformer: Transformer based Generative Adversarial Networks with Style
Vector" (CVPR 2022, arXiv 2106.07023). Behavior that only the released program shows (and the
ablation switches, whose definition is ours) is listed in reference_models/README.md.

Activations are [batch, tokens, channels], tokens in row-major order of the image.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from reference_models.activation import leaky_relu
from reference_models.attention import LINFORMER_TOKENS, attend, project_tokens
from reference_models.equalized import EqualizedLinear, activated
from reference_models.modulation import demodulation, scaled_linear
from reference_models.noise import Noise, layer_noise
from reference_models.resampling import upsample2d
from reference_models.slicing import by_slices, image_slices, token_slices
from reference_models.style_generator import StyleGenerator
from reference_models.styleformer_config import StyleformerConfig
from reference_models.tokens import sinusoidal_position_encoding, upsample_tokens
from reference_models.tokens_to_rgb import TokensToRGB

FIRST_LINFORMER_RESOLUTION = 32
NORM_EPSILON = 1e-5
FEED_FORWARD_EXPANSION = 4


class StyleEncoderLayer(nn.Module):
    """One attention layer with style modulation: [batch, tokens, C] -> [batch, tokens, C_out].

    Figure 2 of the paper: modulate, normalize, demodulated q, k, v, style value, attention,
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
        style_in, style_value = (affine or self.affine1)(w).chunk(2, dim=1)
        parts = token_slices(x)
        tokens = x.shape[1]

        def normalized(part: slice) -> Tensor:
            return self.modulate_and_normalize(x[:, part], style_in)

        h = by_slices(normalized, parts, dim=1, length=tokens)
        # q k^T holds the factors of q and k as products only: q carries both.
        scale_q = demodulation(self.q_weight, style_in) * demodulation(self.k_weight, style_in)
        scale_v = demodulation(self.v_weight, style_in) * style_value
        # Linformer: E (h K^T) = (E h) K^T, so h is projected, once for keys and values.
        source = project_tokens(h, self.proj_weight) if self.linformer else h
        keys = F.linear(source, self.k_weight)
        values = scaled_linear(source, self.v_weight, scale_v)
        scale_w = demodulation(self.w_weight, style_value)
        residual = self.residual(x, h, values, scale_v, style_value)
        extra = layer_noise(noise, self.noise_const, self.noise_strength)

        def mixed(part: slice) -> Tensor:
            q = scaled_linear(h[:, part], self.q_weight, scale_q)
            y = scaled_linear(attend(q, keys, values, self.heads), self.w_weight, scale_w)
            noise_part = None if extra is None else extra[..., part, :]
            return activated(residual(y, part), self.bias, noise_part, clamp=self.config.clamp)

        y = by_slices(mixed, parts, dim=1, length=tokens)
        return self.feed_forward(y, w) if self.config.feed_forward else y

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
        x: Float[Tensor, "batch tokens channels"],
        h: Float[Tensor, "batch tokens channels"],
        values: Float[Tensor, "batch keys channels"],
        scale_v: Float[Tensor, "batch channels"],
        style_value: Float[Tensor, "batch channels"],
    ) -> Callable[[Tensor, slice], Tensor]:
        """Return what adds the configured residual to a slice of tokens.

        The paper's is the demodulated product of U with the styled value: v U^T. Linformer has no
        v of all tokens: there it is h (U V)^T.
        """
        if self.config.residual == "none":
            return lambda y, _: y
        if self.config.residual == "identity":
            if self.w_weight.shape[0] == self.w_weight.shape[1]:
                return lambda y, part: y + x[:, part]
            return lambda y, part: y + F.linear(x[:, part], self.u_weight)
        scale_u = demodulation(self.u_weight, style_value)
        if not self.linformer:
            return lambda y, part: y.add_(scaled_linear(values[:, part], self.u_weight, scale_u))
        both = (self.u_weight * scale_u.unsqueeze(2)) @ (self.v_weight * scale_v.unsqueeze(2))
        return lambda y, part: torch.baddbmm(y, h[:, part], both.transpose(1, 2))


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


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a block stands: `resolution` index, and whether it opens or closes anything."""

    name: str
    resolution: int
    first_of_all: bool
    first_of_resolution: bool
    last_of_resolution: bool


class StyleBlock(nn.Module):
    """One encoder layer, with what its place asks for: constant, position encoding, color layer."""

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

    @property
    def style_resolutions(self) -> list[int]:
        """Side of the layer that each used style vector enters first; the last one only colors."""
        return [*(place.resolution for place in self.places), self.config.resolution]

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
        x = self.block(self.places[0]).const.expand(ws.shape[0], -1, -1)
        return self.grow(0, x, None, ws, noise)

    def grow(
        self,
        first: int,
        x: Float[Tensor, "batch tokens channels"],
        image: Float[Tensor, "batch image_channels side side"] | None,
        ws: Float[Tensor, "batch num_ws w_dim"],
        noise: Noise | Sequence[Tensor],
    ) -> tuple[Tensor, Tensor]:
        """Go on from block number `first`, which opens a resolution, to the last tokens and image.

        Each slice of the batch goes all the way before the next: large maps are those of one slice.
        """
        pieces = []
        for part in image_slices(x, x.shape[1]):
            some = noise if isinstance(noise, str | Tensor) else [layer[part] for layer in noise]
            before = None if image is None else image[part]
            pieces.append(self.one_resolution(first, x[part], before, ws[part], some))
        if len(pieces) == 1:
            return pieces[0]
        tokens, images = zip(*pieces, strict=True)
        return torch.cat(tokens), torch.cat(images)

    def one_resolution(
        self,
        first: int,
        x: Float[Tensor, "batch tokens channels"],
        image: Float[Tensor, "batch image_channels side side"] | None,
        ws: Float[Tensor, "batch num_ws w_dim"],
        noise: Noise | Sequence[Tensor],
    ) -> tuple[Tensor, Tensor]:
        """Run the blocks of the resolution that block `first` opens, then all after it."""
        index = first
        while True:
            place = self.places[index]
            block = self.block(place)
            affine: nn.Module | None = None
            if self.config.style_injection == "shared":
                affine = self.get_submodule(f"b{place.resolution}_affine")
            chosen = noise if isinstance(noise, str | Tensor) else noise[index]
            x = block(x, ws[:, index], chosen, affine)
            index += 1
            if place.last_of_resolution:
                break
        rgb = block.torgb(x, ws[:, index])
        image = rgb if image is None else upsample2d(image).add_(rgb)
        if index == len(self.places):
            return x, image
        return self.grow(index, upsample_tokens(x), image, ws, noise)


class Styleformer(StyleGenerator):
    """The generator: latents [batch, z_dim] (and labels [batch, c_dim]) -> images."""

    def __init__(self, config: StyleformerConfig) -> None:
        synthesis = StyleformerSynthesis(config)
        super().__init__(
            config,
            synthesis=synthesis,
            num_ws=config.num_ws,
            noise_shapes=synthesis.noise_shapes,
            style_resolutions=synthesis.style_resolutions,
        )
        self.config = config
