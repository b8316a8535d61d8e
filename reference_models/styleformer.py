"""Styleformer: a style-based generator of transformer encoder layers, without convolution.

Source: Park and Kim, "Styleformer: Transformer based Generative Adversarial Networks with Style
Vector" (CVPR 2022, arXiv 2106.07023). Behavior that only the released program shows (and the
ablation switches, whose definition is ours) is listed in reference_models/README.md.

Activations are [batch, tokens, channels], tokens in row-major order of the image.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reference_models.equalized import EqualizedLinear
from reference_models.noise import Noise
from reference_models.resampling import upsample2d
from reference_models.slicing import image_slices
from reference_models.style_generator import StyleGenerator
from reference_models.styleformer_config import StyleformerConfig
from reference_models.styleformer_layer import StyleEncoderLayer
from reference_models.token_stream import TokenStream
from reference_models.tokens import sinusoidal_position_encoding
from reference_models.tokens_to_rgb import TokensToRGB


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

    def streamed(
        self,
        x: TokenStream,
        w: Float[Tensor, "batch w_dim"],
        noise: Noise,
        affine: EqualizedLinear | None = None,
    ) -> TokenStream:
        """Return the tokens after this block's attention layer, made when they are asked for."""
        if len(x.parts) == 1 and self.enc.kernels is None:
            return TokenStream.of(self(x.gathered(), w, noise, affine))
        if self.position_encoding != "none":
            x = x.plus(self.pos_embedding)
        return self.enc.streamed(x, w, noise, affine)


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
        x = TokenStream.of(self.start(ws))
        _, image = self.one_resolution(0, x, None, ws, noise, keep=False)
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
        x = TokenStream.of(self.start(ws))
        tokens, image = self.one_resolution(0, x, None, ws, noise, keep=True)
        assert tokens is not None  # noqa: S101  # they were kept
        return tokens, image

    def start(
        self, ws: Float[Tensor, "batch num_ws w_dim"]
    ) -> Float[Tensor, "batch tokens channels"]:
        """Return the constant that every image starts from."""
        return self.block(self.places[0]).const.expand(ws.shape[0], -1, -1)

    def grow(
        self,
        first: int,
        x: Float[Tensor, "batch tokens channels"],
        image: Float[Tensor, "batch image_channels side side"],
        ws: Float[Tensor, "batch num_ws w_dim"],
        noise: Noise | Sequence[Tensor],
        *,
        keep: bool,
    ) -> tuple[Tensor | None, Tensor]:
        """Double the sides and go on from block number `first` to the last tokens and image.

        Each slice of the batch goes all the way before the next: large maps are those of one slice.
        """
        pieces = []
        for part in image_slices(x, 4 * x.shape[1]):
            some = noise if isinstance(noise, str | Tensor) else [layer[part] for layer in noise]
            tokens = TokenStream.doubled(x[part])
            pieces.append(
                self.one_resolution(first, tokens, image[part], ws[part], some, keep=keep)
            )
        if len(pieces) == 1:
            return pieces[0]
        grown = [tokens for tokens, _ in pieces if tokens is not None]
        return torch.cat(grown) if grown else None, torch.cat([image for _, image in pieces])

    def one_resolution(
        self,
        first: int,
        x: TokenStream,
        image: Float[Tensor, "batch image_channels half half"] | None,
        ws: Float[Tensor, "batch num_ws w_dim"],
        noise: Noise | Sequence[Tensor],
        *,
        keep: bool,
    ) -> tuple[Tensor | None, Tensor]:
        """Run the blocks of the resolution that block `first` opens, then all after it.

        Return the image, and the last tokens if they are to be kept.
        """
        index = first
        while True:
            place = self.places[index]
            block = self.block(place)
            shared = getattr(self, f"b{place.resolution}_affine", None)
            chosen = noise if isinstance(noise, str | Tensor) else noise[index]
            x = block.streamed(x, ws[:, index], chosen, shared)
            index += 1
            if place.last_of_resolution:
                break
        tokens, rgb = block.torgb.streamed(x, ws[:, index], keep=keep or index < len(self.places))
        image = rgb if image is None else upsample2d(image).add_(rgb)
        if tokens is None or index == len(self.places):
            return tokens, image
        return self.grow(index, tokens, image, ws, noise, keep=keep)


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
