"""The GANsformer: StyleGAN2's convolutions, between which the image attends to several latents.

Source: Hudson and Zitnick, "Generative Adversarial Transformers" (arXiv 2103.01209). Tensor names are
those of the authors' PyTorch program, but for constant buffers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reference_models import winograd
from reference_models.bipartite_attention import Attended, BipartiteAttention
from reference_models.convolution import EqualizedConv2d
from reference_models.equalized import EqualizedLinear, activated
from reference_models.gansformer_config import GansformerConfig
from reference_models.gansformer_mapping import GansformerMapping
from reference_models.modulation import energy_demodulation
from reference_models.noise import Noise, draw_noise, layer_noise
from reference_models.resampling import conv2d_up, upsample2d

WAVELENGTH = 10000.0

Styles = Float[Tensor, "batch latents num_ws width"]


def grid_positions(side: int, width: int, directions: int) -> Float[Tensor, "places width"]:
    """Return sines and cosines of each place's distance along some directions, row by row."""
    line = torch.linspace(-1, 1, side, dtype=torch.float64)
    rows, columns = torch.meshgrid(line, line, indexing="ij")
    count = width // (2 * directions)
    exponents = torch.arange(count, dtype=torch.float64) * (2 * directions / width)
    frequencies = WAVELENGTH**-exponents
    if directions == 2:  # noqa: PLR2004  # the axes
        along = [columns, rows]
    else:
        angles = [math.pi * number / directions for number in range(directions)]
        along = [columns * math.cos(angle) + rows * math.sin(angle) for angle in angles]
    parts = [
        function(distance[..., None] * frequencies)
        for distance in along
        for function in (torch.sin, torch.cos)
    ]
    return torch.cat(parts, dim=2).flatten(0, 1).float()


class Layer(nn.Module):
    """A convolution of 3x3, modulated or not, attention, noise, bias and leaky ReLU.

    `plain`: the last convolution, which has none of what follows.
    """

    noise_const: Tensor
    grid_pos: Tensor

    def __init__(
        self,
        config: GansformerConfig,
        *,
        inputs: int,
        outputs: int,
        resolution: int,
        up: bool = False,
        gain: float = 1.0,
        plain: bool = False,
    ) -> None:
        super().__init__()
        self.up, self.style, self.plain = up, config.style, plain
        self.gain = math.sqrt(2) * gain
        self.weight = nn.Parameter(torch.empty(outputs, inputs, 3, 3))
        self.affine = EqualizedLinear(config.latent_dim, inputs, bias_init=1.0)
        if plain:
            return
        self.noise_strength = nn.Parameter(torch.empty(()))
        self.register_buffer("noise_const", torch.empty(resolution, resolution))
        self.biasAct = Bias(outputs)
        if config.attention is not None and config.attends(resolution):
            grid = grid_positions(resolution, config.place_dim, config.directions)
            self.register_buffer("grid_pos", grid, persistent=False)
            self.transformer = BipartiteAttention(
                config.attention,
                channels=outputs,
                to_dim=config.latent_dim,
                from_pos_dim=config.place_dim,
                to_pos_dim=config.place_dim,
                latents=config.components,
            )

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draw weights and stored noise from N(0, 1); noise strength starts at 0."""
        self.weight.data.normal_(generator=generator)
        if not self.plain:
            self.noise_strength.data.zero_()
            self.noise_const.normal_(generator=generator)

    def convolved(
        self, x: Float[Tensor, "batch inputs height width"], w: Float[Tensor, "batch width_of_w"]
    ) -> Float[Tensor, "batch outputs new_height new_width"]:
        """Return the convolution, modulated by the global style."""
        gain = 1 / math.sqrt(self.weight[0].numel())
        scale = None
        if self.style:
            style = self.affine(w)
            energy = self.weight.square().sum(dim=(2, 3)) * gain**2
            scale = energy_demodulation(energy, style) * gain
            x = x * style[:, :, None, None]
        y = conv2d_up(x, self.weight) if self.up else winograd.convolution(x, self.weight)
        return y * (gain if scale is None else scale[:, :, None, None])

    def forward(
        self,
        x: Float[Tensor, "batch inputs height width"],
        w: Float[Tensor, "batch latents width_of_w"],
        positions: Float[Tensor, "components width_of_w"] | None,
        noise: Noise,
        shares: Tensor | None,
    ) -> tuple[Float[Tensor, "batch outputs new_height new_width"], Attended | None]:
        """Return features, and what attended."""
        y = self.convolved(x, w[:, -1])
        if self.plain:
            return y, None
        attended = None
        if hasattr(self, "transformer"):
            places = y.permute(0, 2, 3, 1).flatten(1, 2)
            attended = self.transformer(places, w[:, :-1], self.grid_pos, positions, shares)
            y = attended.x.view(y.shape[0], *y.shape[2:], -1).permute(0, 3, 1, 2)
        gain = torch.full((), self.gain, dtype=y.dtype, device=y.device)
        extra = layer_noise(noise, self.noise_const, self.noise_strength * self.gain)
        bias = (self.biasAct.bias * self.gain)[:, None, None]
        return activated(y, bias, extra, scale=gain), attended


class Bias(nn.Module):
    """A bias under the released program's name."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.empty(channels))

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Start at 0."""
        del generator
        self.bias.data.zero_()


class ColorLayer(nn.Module):
    """1x1 convolution to colors, modulated by the global style but not demodulated."""

    def __init__(self, config: GansformerConfig, channels: int) -> None:
        super().__init__()
        self.style = config.style
        self.weight = nn.Parameter(torch.empty(config.image_channels, channels, 1, 1))
        self.affine = EqualizedLinear(config.latent_dim, channels, bias_init=1.0)
        self.biasAct = Bias(config.image_channels)

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draw weights from N(0, 1)."""
        self.weight.data.normal_(generator=generator)

    def forward(
        self, x: Float[Tensor, "batch channels height width"], w: Float[Tensor, "batch width_of_w"]
    ) -> Float[Tensor, "batch colors height width"]:
        """Return the image."""
        weights = self.weight[:, :, 0, 0] / math.sqrt(x.shape[1])
        weights = weights.expand(x.shape[0], -1, -1)
        if self.style:
            weights = weights * self.affine(w).unsqueeze(1)
        image = torch.baddbmm(self.biasAct.bias.unsqueeze(1), weights, x.flatten(2))
        return image.view(*image.shape[:2], *x.shape[2:])


class State(NamedTuple):
    """What goes from block to block: features, the image so far, and the last layer's shares."""

    x: Tensor | None
    image: Tensor | None
    shares: Tensor | None


class GansformerBlock(nn.Module):
    """The layers of one resolution."""

    def __init__(self, config: GansformerConfig, *, resolution: int, inputs: int) -> None:
        super().__init__()
        outputs = config.channels(resolution)
        self.first, self.last = inputs == 0, resolution == config.resolution
        self.image_path = config.image_path
        residual = config.image_path == "resnet" and not self.first
        if self.first:
            self.const = nn.Parameter(torch.empty(outputs, resolution, resolution))
        else:
            self.conv0 = Layer(
                config, inputs=inputs, outputs=outputs, resolution=resolution, up=True
            )
        self.conv1 = Layer(
            config,
            inputs=outputs,
            outputs=outputs,
            resolution=resolution,
            gain=math.sqrt(0.5) if residual else 1.0,
        )
        if residual:
            self.skip = EqualizedConv2d(
                inputs, outputs, kernel=1, resample="up", gain=math.sqrt(0.5)
            )
        if self.last:
            self.conv_last = Layer(
                config, inputs=outputs, outputs=outputs, resolution=resolution, plain=True
            )
        if self.last or config.image_path == "skip":
            self.torgb = ColorLayer(config, outputs)

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draw the constant input from N(0, 1)."""
        if self.first:
            self.const.data.normal_(generator=generator)

    @property
    def layers(self) -> int:
        """Number of convolutions, the last one's included (each consumes one style vector)."""
        return (1 if self.first else 2) + self.last

    def forward(
        self,
        state: State,
        ws: Float[Tensor, "batch latents layers_and_color width_of_w"],
        positions: Float[Tensor, "components width_of_w"] | None,
        noise: Sequence[Noise],
        attended: list[Attended],
    ) -> State:
        """Return the state after this resolution; what attended is appended to `attended`."""
        x, image, shares = state
        if self.first or x is None:
            x = self.const.expand(ws.shape[0], -1, -1, -1)
        if x.is_cpu and not torch.compiler.is_compiling():
            x = x.contiguous(memory_format=torch.channels_last)
        shortcut = self.skip(x) if hasattr(self, "skip") else None
        layers = [self.conv1] if self.first else [self.conv0, self.conv1]
        for place, layer in enumerate(layers):
            x, found = layer(x, ws[:, :, place], positions, noise[place], shares)
            if found is not None:
                attended.append(found)
                shares = found.shares
        if shortcut is not None:
            x = shortcut + x
        if self.last:
            x, _ = self.conv_last(x, ws[:, :, len(layers)], positions, "none", None)
        if image is not None:
            image = upsample2d(image)
        if hasattr(self, "torgb"):
            rgb = self.torgb(x, ws[:, -1, self.layers])
            image = rgb if image is None else image + rgb
        return State(x, image, shares)


class GansformerSynthesis(nn.Module):
    """Styles [batch, latents, num_ws, width] -> images [batch, channels, R, R]."""

    def __init__(self, config: GansformerConfig) -> None:
        super().__init__()
        self.config = config
        inputs = 0
        for resolution in config.resolutions:
            block = GansformerBlock(config, resolution=resolution, inputs=inputs)
            self.add_module(f"b{resolution}", block)
            inputs = config.channels(resolution)

    @property
    def noise_shapes(self) -> list[tuple[int, ...]]:
        """Shape of one image's noise in each layer that has some."""
        shapes: list[tuple[int, ...]] = []
        for resolution in self.config.resolutions:
            shapes += [(1, resolution, resolution)] * (1 if not shapes else 2)
        return shapes

    def forward(
        self,
        ws: Styles,
        noise: Noise | Sequence[Tensor],
        positions: Float[Tensor, "components width"] | None,
        attended: list[Attended] | None = None,
    ) -> Float[Tensor, "batch colors side side"]:
        """Return images; `attended` is filled with what each attention layer did."""
        used = positions if self.config.positions else None
        state = State(None, None, None)
        place, drawn = 0, 0
        for resolution in self.config.resolutions:
            block: GansformerBlock = self.get_submodule(f"b{resolution}")  # type: ignore[assignment]  # by name
            noisy = block.layers - block.last
            chosen = (
                [noise] * noisy
                if isinstance(noise, str | Tensor)
                else list(noise[drawn : drawn + noisy])
            )
            part = ws[:, :, place : place + block.layers + 1]
            state = block(state, part, used, chosen, [] if attended is None else attended)
            place += block.layers
            drawn += noisy
        if state.image is None:
            msg = "no resolution to synthesise"
            raise ValueError(msg)
        return state.image


class Gansformer(nn.Module):
    """The generator: latents [batch, latents, width] (and labels) -> images, not bounded to [-1, 1]."""

    weights_read: tuple[str, ...] = ()
    """What was taken off a file of weights to get its tensors."""

    def __init__(self, config: GansformerConfig) -> None:
        super().__init__()
        self.config = config
        self.pos: nn.Parameter | None = None
        if config.components:
            self.pos = nn.Parameter(torch.empty(config.components, config.latent_dim))
        self.synthesis = GansformerSynthesis(config)
        self.mapping = GansformerMapping(config)
        self.num_ws = config.num_ws
        self.noise_shapes = tuple(self.synthesis.noise_shapes)

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draw the components' positions uniformly from [0, 1]."""
        if self.pos is not None:
            self.pos.data.uniform_(generator=generator)

    def draw_noise(self, generators: Sequence[torch.Generator]) -> list[Tensor]:
        """Return one noise tensor a layer; row i comes from `generators[i]` alone."""
        return draw_noise(self.noise_shapes, generators)

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Shape of one image's z."""
        return self.config.latents, self.config.latent_dim

    def mapped(
        self, z: Float[Tensor, "batch latents width"], c: Float[Tensor, "batch classes"] | None
    ) -> Float[Tensor, "batch latents width"]:
        """Return the styles of each image, one a latent."""
        return self.mapping(z, c, self.pos)  # type: ignore[no-any-return]  # nn.Module.__call__

    def spread(self, w: Float[Tensor, "batch latents width"]) -> Styles:
        """Return styles for every layer, untruncated."""
        return w.unsqueeze(2).repeat(1, 1, self.num_ws, 1)

    def synthesized(
        self, ws: Styles, noise: Noise | Sequence[Tensor]
    ) -> Float[Tensor, "batch colors side side"]:
        """Return the images of styles."""
        return self.synthesis(ws, noise, self.pos)  # type: ignore[no-any-return]  # nn.Module.__call__

    def styles(
        self,
        z: Float[Tensor, "batch latents width"],
        c: Float[Tensor, "batch classes"] | None = None,
        *,
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
    ) -> Styles:
        """Return the styles of every layer, all latents pulled towards their common mean."""
        ws = self.spread(self.mapped(z, c))
        if truncation_psi != 1:
            ws[:, :, :truncation_cutoff] = self.mapping.w_avg.lerp(
                ws[:, :, :truncation_cutoff], truncation_psi
            )
        return ws

    def forward(
        self,
        z: Float[Tensor, "batch latents width"],
        c: Float[Tensor, "batch classes"] | None = None,
        *,
        noise: Noise | Sequence[Tensor] = "const",
        truncation_psi: float = 1.0,
    ) -> Float[Tensor, "batch colors side side"]:
        """Return images."""
        return self.synthesized(self.styles(z, c, truncation_psi=truncation_psi), noise)

    def attention(
        self, ws: Styles, noise: Noise | Sequence[Tensor] = "const"
    ) -> list[tuple[int, Float[Tensor, "batch heads components rows columns"]]]:
        """Return the side of each attention layer, and how much its places attend to each component."""
        attended: list[Attended] = []
        self.synthesis(ws, noise, self.pos, attended)
        found = []
        for one in attended:
            side = math.isqrt(one.weights.shape[2])
            maps = one.weights.transpose(2, 3)
            found.append((side, maps.reshape(*maps.shape[:3], side, side)))
        return found
