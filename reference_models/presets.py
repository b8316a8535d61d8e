"""Architectures by name, each with the evidence for its sizes. No torch here."""

from __future__ import annotations

import dataclasses
from typing import Literal

Evidence = Literal["published", "inferred", "extrapolated"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StyleformerPreset:
    """Sizes of one architecture.

    `evidence`: "published" (the authors print it, or two independent sources agree), "inferred"
    (consistent with what is published, not printed), "extrapolated" (ours).
    """

    name: str
    resolution: int
    widths: tuple[int, ...]
    layers: tuple[int, ...]
    evidence: Evidence
    source: str
    linformer: bool = False
    start_resolution: int = 8
    dataset: str | None = None


PORT = "sizes of the PaddleViT port, whose weights reproduce the published FID"
PRESETS = (
    StyleformerPreset(
        name="cifar10-large",
        resolution=32,
        widths=(1024, 512, 512),
        layers=(1, 3, 3),
        evidence="published",
        source=f"{PORT}; agrees with the size of the official snapshot",
        dataset="CIFAR-10",
    ),
    StyleformerPreset(
        name="cifar10-medium",
        resolution=32,
        widths=(1024, 256, 64),
        layers=(1, 3, 3),
        evidence="inferred",
        source="the published STL-10 sizes at 32 px; the paper's own were not found",
        dataset="CIFAR-10",
    ),
    StyleformerPreset(
        name="readme-example",
        resolution=32,
        widths=(256, 64, 16),
        layers=(1, 2, 2),
        evidence="published",
        source="example command of the official README; presumably the paper's Small",
        dataset="CIFAR-10",
    ),
    StyleformerPreset(
        name="program-default",
        resolution=32,
        widths=(256, 64, 16),
        layers=(1, 3, 3),
        evidence="published",
        source="defaults of the official training program",
    ),
    StyleformerPreset(
        name="nano",
        resolution=32,
        widths=(64, 64, 32),
        layers=(1, 1, 1),
        evidence="extrapolated",
        source="small enough to train on a CPU; weights of it are shipped",
        dataset="shapes",
    ),
    StyleformerPreset(
        name="stl10-medium",
        resolution=48,
        widths=(1024, 256, 64),
        layers=(1, 3, 3),
        evidence="published",
        source=PORT,
        start_resolution=12,
        dataset="STL-10",
    ),
    StyleformerPreset(
        name="celeba-linformer",
        resolution=64,
        widths=(1024, 256, 64, 64),
        layers=(1, 2, 1, 1),
        evidence="published",
        source=f"{PORT}; agrees with the size of the official snapshot",
        linformer=True,
        dataset="CelebA",
    ),
    StyleformerPreset(
        name="lsun-church-linformer",
        resolution=128,
        widths=(1024, 256, 64, 64, 64),
        layers=(1, 2, 1, 1, 1),
        evidence="published",
        source=f"{PORT}; agrees with the size of the official snapshot",
        linformer=True,
        dataset="LSUN Church",
    ),
)


STYLEGAN2_CHANNELS = {"published": (32768, 512), "nano": (1024, 64)}
"""Of StyleGAN2: channels are the first over the resolution, and at most the second."""


def preset(name: str) -> StyleformerPreset:
    """Return the preset of that name; raises KeyError for an unknown one."""
    return {item.name: item for item in PRESETS}[name]


def by_resolution(resolution: int, *, linformer: bool) -> StyleformerPreset:
    """Return sizes for any resolution: the published CelebA and LSUN pattern, cut or continued.

    Widths 1024, 256, 64, 64, ... and layers 1, 2, 1, 1, ...: equal to the published Linformer
    models at 64 and 128 px, extrapolated elsewhere. Resolutions 12, 24, 48, ... start at 12.
    Raises ValueError for a resolution that is not 8 or 12 times a power of two.
    """
    start = 12 if resolution % 12 == 0 else 8
    count = (resolution // start).bit_length()
    if count < 1 or start << (count - 1) != resolution:
        msg = f"resolution {resolution}: expected 8 or 12 times a power of two"
        raise ValueError(msg)
    published = {64: "celeba-linformer", 128: "lsun-church-linformer"}.get(resolution)
    exact = published is not None and linformer
    return StyleformerPreset(
        name=published if exact and published else "by-resolution",
        resolution=resolution,
        widths=(1024, 256, *[64] * count)[:count],
        layers=(1, 2, *[1] * count)[:count],
        evidence="published" if exact else "extrapolated",
        source="the pattern of the published Linformer models",
        linformer=linformer,
        start_resolution=start,
    )
