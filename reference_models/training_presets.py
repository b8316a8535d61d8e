"""Named ways to train, each with the evidence for its settings. No torch here.

The settings of StyleGAN2-ADA and of the official Styleformer program (its `--cfg` table), what file
sizes of published snapshots say of their training, and small ones of our own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

Evidence = Literal["published", "inferred", "ours"]
Values = Mapping[str, Any]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPreset:
    """Sizes, settings and length of a training run; see `reference_models.adversarial_config`."""

    name: str
    model: str
    resolution: int
    summary: str
    evidence: Evidence
    source: str
    batch: int
    kimg: float
    options: Values = dataclasses.field(default_factory=dict)
    settings: Values = dataclasses.field(default_factory=dict)
    hflip: bool = False


TABLE = "the configuration table of the StyleGAN2-ADA program, which Styleformer's program keeps"
SIZES = (
    "only these settings fit the size of the published snapshot; length and gamma are not printed"
)
CIFAR: Values = {
    "gamma": 0.01,
    "rate": 0.0025,
    "ema_kimg": 500.0,
    "ema_ramp": 0.05,
    "mixing": 0.0,
    "path_length": 0.0,
    "architecture": "orig",
    "d_channel_base": 32768,
    "deviation_group": 32,
}
README_CIFAR = {**CIFAR, "deviation_group": 4}
LINFORMER_CIFAR = {**README_CIFAR, "ada_limit": 0.7}
NANO: Values = {
    "gamma": 2.0,
    "rate": 0.003,
    "ema_kimg": 10.0,
    "ema_ramp": 0.1,
    "mixing": 0.0,
    "path_length": 0.0,
    "augment": "none",
    "d_channel_base": 1024,
    "d_channel_max": 64,
}
NANO_BIGGAN: Values = {
    "rate": 0.0005,
    "d_rate": 0.001,
    "ema_kimg": 5.0,
    "ema_ramp": 0.1,
    "d_channels": 12,
}
TEN_MINUTES: Values = {**CIFAR, "d_channel_base": 8192, "d_channel_max": 256, "ema_kimg": 50.0}


def stylegan2(name: str, resolution: int, batch: int, kimg: float, **settings: Any) -> Any:
    """Return a row of the published table for StyleGAN2."""
    base = settings.pop("channel_base")
    return TrainingPreset(
        name=name,
        model="stylegan2",
        resolution=resolution,
        summary=f"StyleGAN2 at {resolution} px, the published configuration {name}",
        evidence="published",
        source=TABLE,
        batch=batch,
        kimg=kimg,
        options={"channel_base": base, "mapping_layers": settings.pop("mapping_layers")},
        settings={"d_channel_base": base, "ema_ramp": 0.0, **settings},
    )


def styleformer(name: str, model: str, resolution: int, summary: str, **fields: Any) -> Any:
    """Return a way to train one of the Styleformer family at the batch of its program."""
    return TrainingPreset(
        name=name, model=model, resolution=resolution, summary=summary, batch=32, **fields
    )


def nano(
    model: str, resolution: int, *, kimg: float = 60.0, settings: Values = NANO, **options: Any
) -> TrainingPreset:
    """Return a preset that learns `shapes` on a CPU in twenty minutes."""
    return TrainingPreset(
        name="nano" if resolution == 32 else f"nano-{resolution}",  # noqa: PLR2004  # the plain one
        model=model,
        resolution=resolution,
        summary=f"a small {model} for two processors, {resolution} px",
        evidence="ours",
        source="chosen so that a CPU learns shapes in minutes",
        batch=16,
        kimg=kimg,
        options=options,
        settings=settings,
    )


TRAINING_PRESETS = (
    stylegan2(
        "paper256", 256, 64, 25000.0, channel_base=16384, mapping_layers=8, gamma=1.0,
        rate=0.0025, ema_kimg=20.0, deviation_group=8,
    ),
    stylegan2(
        "paper512", 512, 64, 25000.0, channel_base=32768, mapping_layers=8, gamma=0.5,
        rate=0.0025, ema_kimg=20.0, deviation_group=8,
    ),
    stylegan2(
        "paper1024", 1024, 32, 25000.0, channel_base=32768, mapping_layers=8, gamma=2.0,
        rate=0.002, ema_kimg=10.0, deviation_group=4,
    ),
    TrainingPreset(
        name="cifar",
        model="stylegan2",
        resolution=32,
        summary="StyleGAN2 on CIFAR-10 as StyleGAN2-ADA trained it",
        evidence="published",
        source=TABLE,
        batch=64,
        kimg=100000.0,
        settings=CIFAR,
    ),
    TrainingPreset(
        name="cifar-10min",
        model="stylegan2",
        resolution=32,
        summary="a quarter of the channels: CIFAR-10 in ten minutes of one large GPU",
        evidence="ours",
        source="the configuration cifar with half the width, a quarter of the operations",
        batch=64,
        kimg=1500.0,
        options={"channel_base": 8192, "channel_max": 256},
        settings=TEN_MINUTES,
    ),
    styleformer(
        "cifar10-large", "styleformer", 32, "Styleformer Large on CIFAR-10 (FID 2.82, IS 9.94)",
        evidence="inferred", source=SIZES, kimg=100000.0, options={"preset": "cifar10-large"},
        settings=README_CIFAR,
    ),
    styleformer(
        "readme-example", "styleformer", 32, "the example command of the official README",
        evidence="published", source="README of the official program", kimg=100000.0,
        options={"preset": "readme-example"}, settings=README_CIFAR,
    ),
    styleformer(
        "stl10-medium", "styleformer", 48, "Styleformer Medium on STL-10 (FID 15.17, IS 11.01)",
        evidence="inferred", source=f"{SIZES}; the 48 px discriminator is ours", kimg=100000.0,
        options={"preset": "stl10-medium"}, settings=README_CIFAR,
    ),
    styleformer(
        "celeba-linformer", "styleformer-linformer", 64, "Linformer on CelebA (FID 3.66)",
        evidence="inferred", source=SIZES, kimg=100000.0, options={"preset": "celeba-linformer"},
        settings=LINFORMER_CIFAR,
    ),
    styleformer(
        "lsun-church-linformer", "styleformer-linformer", 128, "Linformer on LSUN Church (FID 7.99)",
        evidence="inferred", source=SIZES, kimg=100000.0,
        options={"preset": "lsun-church-linformer"}, settings=LINFORMER_CIFAR,
    ),
    TrainingPreset(
        name="cifar-10min",
        model="styleformer",
        resolution=32,
        summary="the README's sizes, a quarter of the discriminator: ten minutes of one large GPU",
        evidence="ours",
        source="the example command with half the discriminator's width",
        batch=64,
        kimg=1500.0,
        options={"preset": "readme-example"},
        settings=TEN_MINUTES,
    ),
    nano("styleformer", 16, widths=(64, 32), layers=(1, 1)),
    nano("styleformer", 32, preset="nano"),
    nano("styleformer-linformer", 32, preset="nano"),
    nano("styleformer-c", 32, split=16, widths=(64, 64), layers=(1, 1), channel_base=1024),
    nano("stylegan2", 16, channel_base=512, channel_max=64),
    nano("stylegan2", 32, kimg=100.0, settings={**NANO, "rate": 0.0015}, preset="nano"),
    nano("biggan", 32, settings=NANO_BIGGAN, preset="nano", c_dim=5),
    nano("biggan-deep", 32, settings=NANO_BIGGAN, preset="deep-nano", c_dim=5),
    nano("gansformer", 16, preset="nano"),
    nano("gansformer", 32, preset="nano"),
)  # fmt: skip
"""Every preset; a name belongs to a model."""
