"""Which layers use the kernels, and how they take the place of torch's operations."""

from __future__ import annotations

from torch import nn

from reference_models.native.convolutions import NativeConvolutions
from reference_models.native.layers import LANES, NativeKernels, fits
from reference_models.native.library import NativeKernelsError
from reference_models.styleformer_layer import StyleEncoderLayer
from reference_models.tokens_to_rgb import TokensToRGB
from reference_models.winograd import FEWEST_CHANNELS, Convolving


def use_native(model: nn.Module) -> None:
    """Compute the layers of a Styleformer on the CPU with the kernels, in inference.

    Layers whose widths are no multiples of 16 keep torch's operations. Raises NativeKernelsError
    where the kernels cannot be compiled, or fit no layer.
    """
    layers = [one for one in model.modules() if isinstance(one, StyleEncoderLayer) and fits(one)]
    if not layers:
        msg = "no layer of this model fits them: they compute the published layer, 16 channels or more"
        raise NativeKernelsError(msg)
    kernels = NativeKernels()
    for layer in layers:
        layer.kernels = kernels
    for colors in model.modules():
        if isinstance(colors, TokensToRGB) and not colors.weight.shape[1] % LANES:
            colors.kernels = kernels


def use_native_convolutions(*models: nn.Module) -> None:
    """Compute the 3x3 convolutions on the CPU with the kernels, in training as well.

    Narrow ones, and those of few pixels, keep torch's operations. Raises NativeKernelsError where
    the kernels cannot be compiled, or no convolution is wide enough.
    """
    layers = [one for model in models for one in model.modules() if isinstance(one, Convolving)]
    if not any(layer.wide for layer in layers):
        msg = f"no 3x3 convolution has the {FEWEST_CHANNELS} channels that they need to pay off"
        raise NativeKernelsError(msg)
    convolutions = NativeConvolutions()
    for layer in layers:
        layer.convolutions = convolutions
