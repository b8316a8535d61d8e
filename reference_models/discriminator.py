"""The discriminator of StyleGAN2 and Styleformer: residual, skip or plain.

Source: Karras et al., arXiv 1912.04958 (section 4.1, figure 7); minibatch standard deviation:
arXiv 1710.10196 (section 3); label projection: Miyato and Koyama, arXiv 1802.05637.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reference_models.convolution import EqualizedConv2d
from reference_models.equalized import EqualizedLinear
from reference_models.mapping import MappingNetwork
from reference_models.precision import full_precision
from reference_models.resampling import downsample2d

LAST_RESOLUTION = 4


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DiscriminatorConfig:
    """Everything that fixes a discriminator.

    The last feature map is 4x4 (6x6 for 48 px, which is ours: none was published).
    Raises ValueError for a resolution that halving does not bring to 4 or 6.
    """

    resolution: int
    c_dim: int = 0
    image_channels: int = 3
    architecture: Literal["resnet", "skip", "orig"] = "resnet"
    channel_base: int = 32768
    channel_max: int = 512
    clamp: float | None = 256.0
    label_features: int | None = None
    mapping_layers: int = 8
    deviation_group: int | None = 4
    deviation_channels: int = 1

    def __post_init__(self) -> None:
        """Refuse what cannot be built, saying why."""
        if self.last_resolution not in (4, 6) or self.resolution == self.last_resolution:
            msg = f"resolution {self.resolution}: expected 4 or 6 times a power of two, 8 or more"
            raise ValueError(msg)

    @property
    def last_resolution(self) -> int:
        """Side of the last feature map: `resolution` halved until it is below 8."""
        side = self.resolution
        while side >= 2 * LAST_RESOLUTION and side % 2 == 0:
            side //= 2
        return side

    def channels(self, resolution: int) -> int:
        """Return the number of feature channels at that resolution."""
        return min(self.channel_base // resolution, self.channel_max)


def minibatch_deviation(
    x: Float[Tensor, "batch channels height width"], group: int | None, channels: int
) -> Float[Tensor, "batch more_channels height width"]:
    """Return `x` with the mean standard deviation over groups of samples appended as channels.

    Members of a group stand batch / group apart. The batch must be divisible by the group.
    """
    batch, features, height, width = x.shape
    size = batch if group is None else min(group, batch)
    grouped = x.reshape(size, -1, channels, features // channels, height, width)
    variance = (grouped - grouped.mean(dim=0)).square().mean(dim=0)
    deviation = (variance + 1e-8).sqrt().mean(dim=(2, 3, 4))
    maps = deviation.repeat(size, 1)[:, :, None, None].expand(-1, -1, height, width)
    return torch.cat([x, maps], dim=1)


class DiscriminatorBlock(nn.Module):
    """Two convolutions at one resolution, the second halving it."""

    def __init__(self, config: DiscriminatorConfig, *, resolution: int) -> None:
        super().__init__()
        inputs, outputs = config.channels(resolution), config.channels(resolution // 2)
        self.architecture = config.architecture
        first = resolution == config.resolution
        if first or config.architecture == "skip":
            self.fromrgb = EqualizedConv2d(
                config.image_channels, inputs, kernel=1, activate=True, clamp=config.clamp
            )
        self.conv0 = EqualizedConv2d(inputs, inputs, kernel=3, activate=True, clamp=config.clamp)
        gain = math.sqrt(0.5) if config.architecture == "resnet" else 1.0
        self.conv1 = EqualizedConv2d(
            inputs, outputs, kernel=3, resample="down", activate=True, gain=gain, clamp=config.clamp
        )
        if config.architecture == "resnet":
            self.skip = EqualizedConv2d(inputs, outputs, kernel=1, resample="down", gain=gain)

    def forward(
        self, x: Tensor | None, image: Float[Tensor, "batch channels height width"] | None
    ) -> tuple[Tensor, Tensor | None]:
        """Return features at half the size, and the image for the next block where it needs one."""
        if image is not None:
            rgb = self.fromrgb(image)
            x = rgb if x is None else x + rgb
            image = downsample2d(image) if self.architecture == "skip" else None
        if self.architecture == "resnet":
            return self.skip(x) + self.conv1(self.conv0(x)), image
        return self.conv1(self.conv0(x)), image


class DiscriminatorEpilogue(nn.Module):
    """Minibatch deviation, convolution and two fully connected layers on the last map.

    Where autocast makes other layers cheaper, these keep the precision of their weights.
    """

    def __init__(self, config: DiscriminatorConfig, *, label_features: int) -> None:
        super().__init__()
        side = config.last_resolution
        channels = config.channels(LAST_RESOLUTION)
        self.config = config
        if config.architecture == "skip":
            self.fromrgb = EqualizedConv2d(config.image_channels, channels, kernel=1, activate=True)
        self.conv = EqualizedConv2d(
            channels + config.deviation_channels,
            channels,
            kernel=3,
            activate=True,
            clamp=config.clamp,
        )
        self.fc = EqualizedLinear(channels * side * side, channels, activation="leaky_relu")
        self.out = EqualizedLinear(channels, label_features or 1)

    def forward(
        self, x: Float[Tensor, "batch channels height width"], image: Tensor | None
    ) -> Float[Tensor, "batch outputs"]:
        """Return the logit, or the features that a label's embedding is compared with."""
        with full_precision(x):
            x = x.to(self.out.weight.dtype)
            if self.config.architecture == "skip" and image is not None:
                x = x + self.fromrgb(image.to(x.dtype))
            if self.config.deviation_channels:
                group, channels = self.config.deviation_group, self.config.deviation_channels
                x = minibatch_deviation(x, group, channels)
            return self.out(self.fc(self.conv(x).flatten(1)))  # type: ignore[no-any-return]  # nn.Module


class Discriminator(nn.Module):
    """Images [batch, channels, R, R] in [-1, 1] (and labels [batch, c_dim]) -> logits [batch, 1]."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        self.resolutions: list[int] = []
        resolution = config.resolution
        while resolution > config.last_resolution:
            self.resolutions.append(resolution)
            self.add_module(f"b{resolution}", DiscriminatorBlock(config, resolution=resolution))
            resolution //= 2
        label_features = config.label_features or config.channels(LAST_RESOLUTION)
        if config.c_dim:
            self.mapping = MappingNetwork(
                z_dim=0, c_dim=config.c_dim, w_dim=label_features, layers=config.mapping_layers
            )
        self.b4 = DiscriminatorEpilogue(
            config, label_features=label_features if config.c_dim else 0
        )

    def forward(
        self,
        image: Float[Tensor, "batch channels side side"],
        c: Float[Tensor, "batch c_dim"] | None = None,
    ) -> Float[Tensor, "batch 1"]:
        """Return the logits; above 0 means real."""
        x: Tensor | None = None
        remaining: Tensor | None = image
        for resolution in self.resolutions:
            x, remaining = self.get_submodule(f"b{resolution}")(x, remaining)
        y = self.b4(x, remaining)
        if self.config.c_dim:
            labels = self.mapping(None, c)
            y = (y * labels).sum(dim=1, keepdim=True) / math.sqrt(labels.shape[1])
        return y  # type: ignore[no-any-return]  # nn.Module.__call__
