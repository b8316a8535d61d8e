"""The layers of a Styleformer by the kernels: the same streams of tokens, a slice at a time."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from reference_models.equalized import EqualizedLinear
from reference_models.modulation import EPSILON
from reference_models.native.library import OPERATIONS, NativeKernelsError, load
from reference_models.native.packing import PANEL
from reference_models.noise import Noise, layer_noise
from reference_models.slicing import at_once
from reference_models.styleformer_layer import StyleEncoderLayer
from reference_models.token_stream import TokenStream, each
from reference_models.tokens_to_rgb import TokensToRGB, as_image

LANES = 8
"""Of a vector. Channels must be multiples of these, or of a panel."""


def fits(layer: StyleEncoderLayer) -> bool:
    """Return whether the kernels compute this layer: the published one, wide enough."""
    outputs, inputs = layer.w_weight.shape
    return (
        not (inputs % PANEL or outputs % PANEL or inputs // layer.heads % PANEL)
        and layer.config.pre_norm == "after-modulation"
        and layer.config.residual == "modulated-value"
        and not layer.config.feed_forward
    )


class NativeKernels:
    """What `StyleEncoderLayer.kernels` and `TokensToRGB.kernels` are to use.

    Raises NativeKernelsError where the kernels cannot be compiled.
    """

    def __init__(self) -> None:
        load()

    def __reduce__(self) -> tuple[type[NativeKernels], tuple[()]]:
        """Return how another process gets them: they are loaded there, too."""
        return NativeKernels, ()

    def take(self, w: Float[Tensor, "batch w_dim"]) -> bool:
        """Return whether to use them now: not with gradients, nor in a compiler.

        Raises NativeKernelsError for another precision or device than theirs.
        """
        if not w.is_cpu or w.dtype != torch.float32 or torch.is_autocast_enabled("cpu"):
            msg = f"they compute in float32 on a CPU; found {w.dtype} on {w.device}, or autocast"
            raise NativeKernelsError(msg)
        return not at_once(w)

    def layer(
        self,
        layer: StyleEncoderLayer,
        x: TokenStream,
        w: Float[Tensor, "batch w_dim"],
        noise: Noise,
        affine: EqualizedLinear | None,
    ) -> TokenStream:
        """Return the output of a layer, each slice of which is made when it is asked for."""
        styles = (affine or layer.affine1)(w).chunk(2, dim=1)
        style_in, style_value = (style.contiguous() for style in styles)
        outputs, inputs = layer.w_weight.shape
        h, source = self.entered(layer, x, style_in)
        *matrices, values = OPERATIONS.prepare(
            source,
            style_in,
            style_value,
            layer.q_weight,
            layer.k_weight,
            layer.v_weight,
            layer.w_weight,
            layer.u_weight,
            layer.heads,
            layer.linformer,
        )
        query, keys, longest, packed_values, integrate, skip = matrices
        residual = h if layer.linformer else values
        extra = layer_noise(noise, layer.noise_const, layer.noise_strength)

        def mixed(part: slice) -> Tensor:
            tokens = h[:, part]
            # The rows that were read may be overwritten.
            found = tokens if outputs == inputs else h.new_empty(*tokens.shape[:2], outputs)
            OPERATIONS.mix(
                tokens,
                query,
                keys,
                longest,
                packed_values,
                integrate,
                residual[:, part],
                skip,
                layer.bias,
                None if extra is None else extra[..., part, :],
                layer.config.clamp,
                found,
            )
            return found

        return TokenStream(tokens=x.tokens, parts=x.parts, make=mixed, store=h)

    def entered(
        self, layer: StyleEncoderLayer, x: TokenStream, style: Float[Tensor, "batch channels"]
    ) -> tuple[Float[Tensor, "batch tokens channels"], Float[Tensor, "batch keys channels"]]:
        """Return the normalized tokens, and those of keys and values."""
        batch, inputs = style.shape
        h = x.store
        if h is None or h.shape[2] != inputs:
            h = style.new_empty(batch, x.tokens, inputs)
        projected = style.new_zeros(batch, layer.keys, inputs) if layer.linformer else None
        for part in x.parts:
            first, last, _ = part.indices(x.tokens)
            if x.half is None:
                OPERATIONS.enter(x.make(part), False, None, style, first, last, h)  # noqa: FBT003  # torch takes no names
            else:
                OPERATIONS.enter(x.half, True, x.position, style, first, last, h)  # noqa: FBT003
            if projected is not None:
                OPERATIONS.project(layer.proj_weight[:, part], h[:, part], projected)
        return h, h if projected is None else projected

    def colors(
        self, layer: TokensToRGB, x: TokenStream, w: Float[Tensor, "batch w_dim"], *, keep: bool
    ) -> tuple[
        Float[Tensor, "batch tokens channels"] | None,
        Float[Tensor, "batch image_channels side side"],
    ]:
        """Return what `TokensToRGB.streamed` returns."""
        style = layer.affine(w)
        scale = style.unsqueeze(1) * demodulation(layer.weight, style).unsqueeze(2)
        weights = (layer.weight * scale).contiguous()
        image = layer.bias.new_empty(w.shape[0], len(layer.bias), x.tokens)

        def colored(part: slice) -> Tensor:
            tokens = x.make(part)
            OPERATIONS.colors(tokens, weights, layer.bias, part.indices(x.tokens)[0], image)
            return tokens

        tokens = each(x, colored, keep=keep)
        return tokens, as_image(image)


def demodulation(
    weight: Float[Tensor, "outputs inputs"], styles: Float[Tensor, "batch inputs"]
) -> Float[Tensor, "batch outputs"]:
    """Return `modulation.demodulation` without a tensor of squares."""
    found: Tensor = OPERATIONS.demodulation(weight, styles, EPSILON)
    return found
