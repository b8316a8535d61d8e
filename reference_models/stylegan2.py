"""StyleGAN2's generator: modulated convolutions with demodulation, skip, residual or plain images.

Source: Karras et al., "Analyzing and Improving the Image Quality of StyleGAN" (arXiv 1912.04958);
sizes as in "Training GANs with Limited Data" (arXiv 2006.06676).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reference_models import winograd
from reference_models.convolution import EqualizedConv2d
from reference_models.equalized import EqualizedLinear, activated
from reference_models.modulation import energy_demodulation
from reference_models.noise import Noise, layer_noise
from reference_models.precision import full_precision
from reference_models.resampling import conv2d_up, upsample2d
from reference_models.slicing import by_slices, image_slices
from reference_models.style_generator import StyleGenerator

START_RESOLUTION = 4
CONVOLUTION_PIXELS = 2048
"""Pixels of a batch that a CPU convolves at once."""
ImagePath = Literal["skip", "resnet", "orig"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StyleGAN2Config:
    """Everything that fixes a StyleGAN2 generator.

    Channels at resolution r are min(channel_base // r, channel_max).
    Raises ValueError for a resolution that is not a power of two, 8 or more.
    """

    resolution: int
    z_dim: int = 512
    c_dim: int = 0
    w_dim: int = 512
    image_channels: int = 3
    mapping_layers: int = 2
    embed_features: int | None = None
    layer_features: int | None = None
    channel_base: int = 32768
    channel_max: int = 512
    clamp: float | None = 256.0
    image_path: ImagePath = "skip"

    def __post_init__(self) -> None:
        """Refuse what cannot be built, saying why."""
        if self.resolution <= START_RESOLUTION or self.resolution & (self.resolution - 1):
            msg = f"resolution {self.resolution}: StyleGAN2 needs a power of two, 8 or more"
            raise ValueError(msg)
        if self.channels(self.resolution) < 1:
            msg = (
                f"channel_base {self.channel_base}: no channels at {self.resolution} px; expected "
                f"{self.resolution} or more"
            )
            raise ValueError(msg)

    @property
    def resolutions(self) -> tuple[int, ...]:
        """4, 8, ... up to the image's own."""
        steps = self.resolution.bit_length() - START_RESOLUTION.bit_length()
        return tuple(START_RESOLUTION << step for step in range(steps + 1))

    def channels(self, resolution: int) -> int:
        """Return the number of feature channels at that resolution."""
        return min(self.channel_base // resolution, self.channel_max)

    @property
    def num_ws(self) -> int:
        """Number of style vectors: one a convolution and one for the last color layer."""
        return 2 * len(self.resolutions)


class ModulatedConv(winograd.Convolving, nn.Module):
    """3x3 modulated and demodulated convolution with noise, bias and leaky ReLU (figure 2d).

    With `up` the output has twice the size. `gain` multiplies the activation (and the clamp).
    """

    noise_const: Tensor

    def __init__(  # the layer's own facts, all keyword-only
        self,
        *,
        inputs: int,
        outputs: int,
        w_dim: int,
        resolution: int,
        clamp: float | None,
        up: bool = False,
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        self.up = up
        self.gain = math.sqrt(2) * gain
        self.clamp = None if clamp is None else clamp * gain
        self.weight = nn.Parameter(torch.empty(outputs, inputs, 3, 3))
        self.noise_strength = nn.Parameter(torch.empty(()))
        self.bias = nn.Parameter(torch.empty(outputs))
        self.register_buffer("noise_const", torch.empty(resolution, resolution))
        self.affine = EqualizedLinear(w_dim, inputs, bias_init=1.0)

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draw weights and stored noise from N(0, 1); noise strength and bias start at 0."""
        self.weight.data.normal_(generator=generator)
        self.noise_strength.data.zero_()
        self.bias.data.zero_()
        self.noise_const.normal_(generator=generator)

    def forward(
        self,
        x: Float[Tensor, "batch inputs height width"],
        w: Float[Tensor, "batch w_dim"],
        noise: Noise,
    ) -> Float[Tensor, "batch outputs new_height new_width"]:
        """Return the activated feature map."""
        style = self.affine(w)
        energy = self.weight.square().sum(dim=(2, 3))
        # Leaky ReLU is positively homogeneous: its gain is applied to what enters it.
        scale = energy_demodulation(energy, style) * self.gain
        extra = layer_noise(noise, self.noise_const, self.noise_strength * self.gain)
        bias = (self.bias * self.gain)[:, None, None]
        convolution = self.convolution(x)
        drawn = isinstance(noise, Tensor)

        def convolved(part: slice) -> Tensor:
            y = convolution(x[part] * style[part, :, None, None])
            noise_part = extra[part] if drawn and extra is not None else extra
            factors = scale[part, :, None, None]
            return activated(y, bias, noise_part, scale=factors, clamp=self.clamp)

        parts = image_slices(x, x.shape[2] * x.shape[3], CONVOLUTION_PIXELS)
        return by_slices(convolved, parts, dim=0, length=x.shape[0])

    def convolution(
        self, x: Float[Tensor, "batch inputs height width"]
    ) -> Callable[[Tensor], Tensor]:
        """Return the convolution itself, for slices of `x`."""
        if self.up:
            return lambda some: conv2d_up(some, self.weight)
        if not torch.is_grad_enabled() and winograd.pays(x, len(self.weight)):
            by, outputs = self.convolutions, len(self.weight)
            packed = by.packed(winograd.transformed(self.weight))
            return lambda some: winograd.convolve(some, packed, outputs, by)
        return lambda some: winograd.convolution(some, self.weight, self.convolutions)


class MapToRGB(nn.Module):
    """Color layer: modulated 1x1 convolution without demodulation, scaled by 1/sqrt(channels)."""

    def __init__(self, w_dim: int, channels: int, image_channels: int, clamp: float | None) -> None:
        super().__init__()
        self.clamp = clamp
        self.weight = nn.Parameter(torch.empty(image_channels, channels, 1, 1))
        self.bias = nn.Parameter(torch.empty(image_channels))
        self.affine = EqualizedLinear(w_dim, channels, bias_init=1.0)

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draw weights from N(0, 1); the bias starts at 0."""
        self.weight.data.normal_(generator=generator)
        self.bias.data.zero_()

    def forward(
        self, x: Float[Tensor, "batch channels height width"], w: Float[Tensor, "batch w_dim"]
    ) -> Float[Tensor, "batch image_channels height width"]:
        """Return the image of this resolution, in the precision of the weights."""
        with full_precision(x):
            x, w = x.to(self.weight.dtype), w.to(self.weight.dtype)
            style = self.affine(w) / math.sqrt(x.shape[1])
            weights = self.weight[:, :, 0, 0] * style.unsqueeze(1)
            image = torch.baddbmm(self.bias.unsqueeze(1), weights, x.flatten(2))
        y = image.view(*image.shape[:2], *x.shape[2:])
        return y if self.clamp is None else y.clamp(-self.clamp, self.clamp)


class SynthesisBlock(nn.Module):
    """The convolutions of one resolution: conv0 doubles the size, conv1 follows, then color."""

    def __init__(self, config: StyleGAN2Config, *, resolution: int, inputs: int) -> None:
        super().__init__()
        outputs = config.channels(resolution)
        self.first = inputs == 0
        self.image_path = config.image_path
        residual = config.image_path == "resnet" and not self.first
        if self.first:
            self.const = nn.Parameter(torch.empty(outputs, resolution, resolution))
        else:
            self.conv0 = ModulatedConv(
                inputs=inputs,
                outputs=outputs,
                w_dim=config.w_dim,
                resolution=resolution,
                clamp=config.clamp,
                up=True,
            )
        self.conv1 = ModulatedConv(
            inputs=outputs,
            outputs=outputs,
            w_dim=config.w_dim,
            resolution=resolution,
            clamp=config.clamp,
            gain=math.sqrt(0.5) if residual else 1.0,
        )
        if config.image_path == "skip" or resolution == config.resolution:
            self.torgb = MapToRGB(config.w_dim, outputs, config.image_channels, config.clamp)
        if residual:
            self.skip = EqualizedConv2d(
                inputs, outputs, kernel=1, resample="up", gain=math.sqrt(0.5)
            )

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draw the constant input from N(0, 1)."""
        if self.first:
            self.const.data.normal_(generator=generator)

    @property
    def layers(self) -> int:
        """Number of modulated convolutions (each consumes one style vector)."""
        return 1 if self.first else 2

    def forward(
        self,
        x: Float[Tensor, "batch channels height width"] | None,
        image: Float[Tensor, "batch image_channels height width"] | None,
        ws: Float[Tensor, "batch layers_and_color w_dim"],
        noise: Sequence[Noise],
    ) -> tuple[Tensor, Tensor | None]:
        """Return the features and the image so far."""
        if self.first or x is None:
            x = self.const.expand(ws.shape[0], -1, -1, -1)
        if x.is_cpu and not torch.compiler.is_compiling():
            x = x.contiguous(memory_format=torch.channels_last)
        if self.first:
            x = self.conv1(x, ws[:, 0], noise[0])
        elif hasattr(self, "skip"):
            shortcut = self.skip(x)
            x = shortcut + self.conv1(self.conv0(x, ws[:, 0], noise[0]), ws[:, 1], noise[1])
        else:
            x = self.conv1(self.conv0(x, ws[:, 0], noise[0]), ws[:, 1], noise[1])
        if image is not None:
            image = upsample2d(image)
        if hasattr(self, "torgb"):
            rgb = self.torgb(x, ws[:, self.layers])
            image = rgb if image is None else image + rgb
        return x, image


class StyleGAN2Synthesis(nn.Module):
    """Style vectors [batch, num_ws, w_dim] -> images [batch, channels, R, R].

    Each color layer uses the style vector of the convolution after it.
    """

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__()
        self.config = config
        inputs = 0
        for resolution in config.resolutions:
            block = SynthesisBlock(config, resolution=resolution, inputs=inputs)
            self.add_module(f"b{resolution}", block)
            inputs = config.channels(resolution)

    @property
    def noise_shapes(self) -> list[tuple[int, ...]]:
        """Shape of one image's noise in each layer."""
        shapes: list[tuple[int, ...]] = []
        for resolution in self.config.resolutions:
            shapes += [(1, resolution, resolution)] * (1 if not shapes else 2)
        return shapes

    @property
    def style_resolutions(self) -> list[int]:
        """Side of the layer that each used style vector enters first; the last one only colors."""
        return [*(side for _, side, _ in self.noise_shapes), self.config.resolution]

    def forward(
        self, ws: Float[Tensor, "batch num_ws w_dim"], noise: Noise | Sequence[Tensor] = "const"
    ) -> Float[Tensor, "batch image_channels side side"]:
        """Return images in about [-1, 1] (not clamped to it).

        `noise`: "const" (the stored maps), "none", or one tensor [batch, 1, r, r] a layer.
        """
        x: Tensor | None = None
        image: Tensor | None = None
        x, image = grow(self, self.config.resolutions, x, image, ws, noise)
        return image


def grow(  # the state of a synthesis that StyleGAN2 and Styleformer-C share
    synthesis: nn.Module,
    resolutions: Sequence[int],
    x: Float[Tensor, "batch channels height width"] | None,
    image: Float[Tensor, "batch image_channels height width"] | None,
    ws: Float[Tensor, "batch num_ws w_dim"],
    noise: Noise | Sequence[Tensor],
) -> tuple[Tensor, Tensor]:
    """Run the blocks b{resolution} of `synthesis` in turn; return features and image.

    `ws` and `noise` begin at the first of these blocks' own.
    """
    used = 0
    for resolution in resolutions:
        block = synthesis.get_submodule(f"b{resolution}")
        count = block.layers
        if not isinstance(count, int):
            msg = f"b{resolution} is not a SynthesisBlock"
            raise TypeError(msg)
        chosen = [noise] * count if isinstance(noise, str | Tensor) else noise[used : used + count]
        x, image = block(x, image, ws[:, used : used + count + 1], chosen)
        used += count
    if x is None or image is None:
        msg = "no resolution to synthesise"
        raise ValueError(msg)
    return x, image


class StyleGAN2(StyleGenerator):
    """The generator: latents [batch, z_dim] (and labels [batch, c_dim]) -> images."""

    def __init__(self, config: StyleGAN2Config) -> None:
        synthesis = StyleGAN2Synthesis(config)
        super().__init__(
            config,
            synthesis=synthesis,
            num_ws=config.num_ws,
            noise_shapes=synthesis.noise_shapes,
            style_resolutions=synthesis.style_resolutions,
        )
        self.config = config
