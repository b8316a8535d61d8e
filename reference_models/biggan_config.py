"""Sizes of BigGAN and BigGAN-deep, and the published ones by name. No torch here."""

from __future__ import annotations

import dataclasses
from typing import Literal

from reference_models.presets import Evidence

START_SIDE = 4
FEWEST_ATTENDED = 8
"""Channels below which attention has no width."""
INPUTS = {
    32: (4, 4, 4),
    64: (16, 16, 8, 4),
    128: (16, 16, 8, 4, 2),
    256: (16, 16, 8, 8, 4, 2),
    512: (16, 16, 8, 8, 4, 2, 1),
}
OUTPUTS = {
    32: (4, 4, 4),
    64: (16, 8, 4, 2),
    128: (16, 8, 4, 2, 1),
    256: (16, 8, 8, 4, 2, 1),
    512: (16, 8, 8, 4, 2, 1, 1),
}
"""Channels before and after each stage over the base, by resolution (Brock et al., appendix B)."""
CONTINUED = 128
"""Resolution whose sizes are continued where none were published."""
Initialization = Literal["orthogonal", "normal", "xavier"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BigGANConfig:
    """Everything that fixes a generator.

    `channels`: the base, "ch". `hierarchical`: each stage gets a part of z of its own (BigGAN; of
    BigGAN-deep every stage gets all of z). `shared_dim`: width of the class embedding that all norms
    share; None: each norm has a table of its own. `attention`: resolutions after which there is an
    attention block. `own_norm`: norms that can accumulate standing statistics. Raises ValueError for
    sizes that cannot be built.
    """

    resolution: int
    channels: int
    z_dim: int
    classes: int
    deep: bool = False
    hierarchical: bool = True
    shared_dim: int | None = 128
    attention: tuple[int, ...] = (64,)
    spectral: bool = True
    singular_values: int = 1
    power_iterations: int = 1
    own_norm: bool = False
    norm_eps: float = 1e-5
    spectral_eps: float = 1e-6
    initialization: Initialization = "orthogonal"
    depth: int = 2

    def __post_init__(self) -> None:
        """Refuse what cannot be built, saying why."""
        sides = sorted(INPUTS)[: -1 if self.deep else None]
        if self.resolution not in sides:
            msg = f"resolution {self.resolution}: expected {', '.join(map(str, sides))}"
            raise ValueError(msg)
        if self.chunk < 1:
            msg = (
                f"z_dim {self.z_dim}: cut into {len(self.inputs) + 1} parts; expected one for each"
            )
            raise ValueError(msg)
        if self.deep and self.shared_dim is None:
            msg = "BigGAN-deep needs a shared embedding"
            raise ValueError(msg)
        if self.deep and self.depth < 2 and self.resolution != min(INPUTS):  # noqa: PLR2004
            msg = (
                f"depth {self.depth}: blocks keep their width but for the last; expected 2 or more"
            )
            raise ValueError(msg)
        for side, width in zip(self.sides, self.outputs, strict=True):
            if side in self.attention and width < FEWEST_ATTENDED:
                msg = (
                    f"channels {self.channels}: attention at {side} px needs {FEWEST_ATTENDED}, there "
                    f"are {width}"
                )
                raise ValueError(msg)

    @property
    def inputs(self) -> tuple[int, ...]:
        """Channels before each stage."""
        return tuple(self.channels * factor for factor in INPUTS[self.resolution])

    @property
    def outputs(self) -> tuple[int, ...]:
        """Channels after each stage."""
        return tuple(self.channels * factor for factor in OUTPUTS[self.resolution])

    @property
    def sides(self) -> tuple[int, ...]:
        """Resolution after each stage."""
        return tuple(2 * START_SIDE << stage for stage in range(len(self.inputs)))

    @property
    def chunk(self) -> int:
        """Numbers of z that each stage gets; all of them where z is not cut."""
        cut = self.hierarchical and not self.deep
        return self.z_dim // (len(self.inputs) + 1) if cut else self.z_dim

    @property
    def drawn(self) -> int:
        """Numbers of z that are drawn: what is cut into equal parts."""
        cut = self.hierarchical and not self.deep
        return self.chunk * (len(self.inputs) + 1) if cut else self.z_dim

    @property
    def condition(self) -> int:
        """Width of what conditions a norm: class embedding, and a part of z; or number of classes."""
        if self.shared_dim is None:
            return self.classes
        if self.deep:
            return self.shared_dim + self.z_dim
        return self.shared_dim + (self.chunk if self.hierarchical else 0)

    @property
    def first(self) -> int:
        """Width of what the first linear layer takes."""
        return self.condition if self.deep else self.chunk


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BigGANPreset:
    """A configuration by name, with the evidence for its sizes."""

    name: str
    config: BigGANConfig
    evidence: Evidence
    source: str
    dataset: str | None = None


SCRIPTS = "launch scripts of the authors' PyTorch code"
HUB = "sizes of the authors' TensorFlow Hub modules"
PRESETS = (
    BigGANPreset(
        name="cifar10",
        config=BigGANConfig(
            resolution=32,
            channels=64,
            z_dim=128,
            classes=10,
            hierarchical=False,
            shared_dim=None,
            attention=(),
            spectral_eps=1e-8,
            initialization="normal",
        ),
        evidence="published",
        source=f"{SCRIPTS}; not the paper's CIFAR-10 network, whose sizes were not printed",
        dataset="CIFAR-10",
    ),
    BigGANPreset(
        name="imagenet-64",
        config=BigGANConfig(resolution=64, channels=96, z_dim=100, classes=1000, attention=(32,)),
        evidence="extrapolated",
        source="the 128 px script at 64 px",
    ),
    BigGANPreset(
        name="imagenet-128",
        config=BigGANConfig(resolution=128, channels=96, z_dim=120, classes=1000),
        evidence="published",
        source=SCRIPTS,
        dataset="ImageNet",
    ),
    BigGANPreset(
        name="imagenet-256",
        config=BigGANConfig(
            resolution=256,
            channels=96,
            z_dim=140,
            classes=1000,
            attention=(128,),
            norm_eps=1e-4,
            spectral_eps=1e-4,
        ),
        evidence="published",
        source=HUB,
        dataset="ImageNet",
    ),
    BigGANPreset(
        name="imagenet-512",
        config=BigGANConfig(
            resolution=512,
            channels=96,
            z_dim=128,
            classes=1000,
            norm_eps=1e-4,
            spectral_eps=1e-4,
        ),
        evidence="published",
        source=HUB,
        dataset="ImageNet",
    ),
    BigGANPreset(
        name="deep-imagenet-128",
        config=BigGANConfig(resolution=128, channels=128, z_dim=128, classes=1000, deep=True),
        evidence="published",
        source=SCRIPTS,
        dataset="ImageNet",
    ),
    BigGANPreset(
        name="deep-imagenet-256",
        config=BigGANConfig(resolution=256, channels=128, z_dim=128, classes=1000, deep=True),
        evidence="published",
        source=SCRIPTS,
        dataset="ImageNet",
    ),
    BigGANPreset(
        name="nano",
        config=BigGANConfig(
            resolution=32, channels=12, z_dim=32, classes=5, shared_dim=32, attention=(16,)
        ),
        evidence="extrapolated",
        source="small enough to train on a CPU",
        dataset="shapes",
    ),
    BigGANPreset(
        name="deep-nano",
        config=BigGANConfig(
            resolution=32,
            channels=24,
            z_dim=32,
            classes=5,
            shared_dim=32,
            attention=(16,),
            deep=True,
        ),
        evidence="extrapolated",
        source="small enough to train on a CPU",
        dataset="shapes",
    ),
)


def by_resolution(resolution: int, *, deep: bool) -> BigGANConfig:
    """Return published sizes; else those of 128 px, with attention at half the resolution.

    Raises ValueError for a resolution that cannot be built.
    """
    configs = [
        preset.config
        for preset in PRESETS
        if preset.config.deep == deep and not preset.name.endswith("nano")
    ]
    for config in configs:
        if config.resolution == resolution:
            return config
    nearest = next(config for config in configs if config.resolution == CONTINUED)
    return dataclasses.replace(nearest, resolution=resolution, attention=(resolution // 2,))
