"""Constructor arguments and tensor names of the official programs, as ours.

The official Styleformer and StyleGAN2-ADA programs (and their snapshots) name sizes with the keys
read here; tensors keep their names, apart from the two cases of `official_state`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from reference_models.discriminator import DiscriminatorConfig
from reference_models.styleformer_config import StyleformerConfig
from reference_models.stylegan2 import StyleGAN2Config

Arguments = Mapping[str, Any]


def mapping_arguments(arguments: Arguments) -> dict[str, Any]:
    """Return the fields that describe the mapping network and the image."""
    mapping = arguments.get("mapping_kwargs") or {}
    return {
        "z_dim": arguments["z_dim"],
        "c_dim": arguments["c_dim"],
        "w_dim": arguments["w_dim"],
        "image_channels": arguments["img_channels"],
        "mapping_layers": mapping.get("num_layers", 8),
        "embed_features": mapping.get("embed_features"),
        "layer_features": mapping.get("layer_features"),
    }


def clamp_of(arguments: Arguments) -> float | None:
    """Return the clamp of activations, or None for none."""
    clamp = arguments.get("conv_clamp")
    return None if clamp is None else float(clamp)


def styleformer_config(arguments: Arguments, *, start_resolution: int = 8) -> StyleformerConfig:
    """Return the sizes of an official Styleformer generator."""
    synthesis = arguments["synthesis_kwargs"]
    count = (arguments["img_resolution"] // start_resolution).bit_length()
    return StyleformerConfig(
        widths=tuple(synthesis["G_dict"])[:count],
        layers=tuple(synthesis["num_layers"])[:count],
        start_resolution=start_resolution,
        linformer=bool(synthesis.get("linformer", False)),
        head_width=synthesis.get("depth", 32),
        minimum_heads=synthesis.get("minimum_head", 1),
        clamp=clamp_of(synthesis),
        **mapping_arguments(arguments),
    )


def stylegan2_config(arguments: Arguments) -> StyleGAN2Config:
    """Return the sizes of an official StyleGAN2-ADA generator."""
    synthesis = arguments.get("synthesis_kwargs") or {}
    return StyleGAN2Config(
        resolution=arguments["img_resolution"],
        channel_base=synthesis.get("channel_base", 32768),
        channel_max=synthesis.get("channel_max", 512),
        clamp=clamp_of(synthesis),
        image_path=synthesis.get("architecture", "skip"),
        **mapping_arguments(arguments),
    )


def discriminator_config(arguments: Arguments) -> DiscriminatorConfig:
    """Return the sizes of an official discriminator."""
    epilogue = arguments.get("epilogue_kwargs") or {}
    mapping = arguments.get("mapping_kwargs") or {}
    return DiscriminatorConfig(
        resolution=arguments["img_resolution"],
        c_dim=arguments["c_dim"],
        image_channels=arguments["img_channels"],
        architecture=arguments.get("architecture", "resnet"),
        channel_base=arguments.get("channel_base", 32768),
        channel_max=arguments.get("channel_max", 512),
        clamp=clamp_of(arguments),
        label_features=arguments.get("cmap_dim"),
        mapping_layers=mapping.get("num_layers", 8),
        deviation_group=epilogue.get("mbstd_group_size", 4),
        deviation_channels=epilogue.get("mbstd_num_channels", 1),
    )


def official_name(name: str) -> str | None:
    """Return our name of an official tensor; None for one that is a constant here.

    Every official layer stores the resampling filter; a Linformer projection is stored by the
    block and again by its layer.
    """
    if name.endswith("resample_filter"):
        return None
    if name.endswith(".proj_weight") and not name.endswith(".enc.proj_weight"):
        return name.removesuffix("proj_weight") + "enc.proj_weight"
    return name


def official_state(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict of our modules from official tensors."""
    named = ((official_name(name), tensor) for name, tensor in tensors.items())
    return {name: tensor for name, tensor in named if name is not None}


def start_resolution(tensors: Mapping[str, Any]) -> int:
    """Return the first resolution of a Styleformer: the r of the tensor `synthesis.b{r}_0.const`."""
    for name in tensors:
        if name.endswith("_0.const"):
            return int(name.removesuffix("_0.const").rpartition(".b")[2])
    return 8
