"""The GANsformer's published sizes by name, and one that trains on a CPU. No torch here."""

from __future__ import annotations

import dataclasses
from typing import Any

from reference_models.gansformer_config import BipartiteConfig, GansformerConfig

PLACES = BipartiteConfig(integration="mul", norm="layer", duplex=True)
BY_NAME = {
    "published": GansformerConfig(
        resolution=256,
        components=16,
        latent_dim=32,
        mapping_resnet=True,
        mapping_attention=BipartiteConfig(),
        mapping_positions=True,
        image_path="resnet",
        attention=PLACES,
        positions=True,
        end=8,
    ),
    "clevr": GansformerConfig(
        resolution=256,
        components=8,
        latent_dim=16,
        mapping_resnet=True,
        mapping_positions=True,
        image_path="resnet",
        style=False,
        attention=PLACES,
        positions=True,
        end=8,
    ),
    "nano": GansformerConfig(
        resolution=32,
        components=4,
        latent_dim=16,
        mapping_layers=4,
        mapping_resnet=True,
        mapping_attention=BipartiteConfig(dropout=0.0),
        mapping_positions=True,
        channel_base=1024,
        channel_max=64,
        image_path="resnet",
        attention=dataclasses.replace(PLACES, dropout=0.0),
        positions=True,
        end=8,
    ),
}
"""Of the authors' command line (`--ganformer-default`; for CLEVR with its own latents), and ours."""


def preset(name: str, resolution: int, *, duplex: bool, **changes: Any) -> GansformerConfig:
    """Return sizes by name at a resolution; raises ValueError for those that cannot be built."""
    found = BY_NAME[name]
    attention = None
    if found.attention is not None:
        attention = dataclasses.replace(found.attention, duplex=duplex)
    return dataclasses.replace(found, resolution=resolution, attention=attention, **changes)
