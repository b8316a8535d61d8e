"""The GANsformer's weights as files: constructor arguments of the authors' program, as ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from reference_models.gansformer_config import BipartiteConfig, GansformerConfig, Norm

Arguments = Mapping[str, Any]
DERIVED = ("resample_kernel", "grid_pos", "pos0")
"""Constant tensors, which are computed here."""
POSITION_TYPE = "sinus"
NORMS: Mapping[str | None, Norm | None] = {
    None: None,
    "layer": "layer",
    "batch": "layer",
    "instance": "instance",
}
"""Of the released program; its "batch" takes the statistics of each place, too."""


def gansformer_config(arguments: Arguments) -> GansformerConfig:
    """Return the sizes of a generator; absent arguments have the program's own defaults.

    Raises ValueError for what is not computed here.
    """
    mapping = arguments.get("mapping_kwargs") or {}
    synthesis = arguments.get("synthesis_kwargs") or {}
    attends = bool(synthesis.get("transformer", False))
    kind = synthesis.get("pos_type", POSITION_TYPE)
    if attends and kind != POSITION_TYPE:
        msg = f"positions of type {kind}: expected {POSITION_TYPE}"
        raise ValueError(msg)
    if mapping.get("shared") or synthesis.get("latent_stem"):
        msg = "a shared mapping network or a stem of latents: the released program has neither"
        raise ValueError(msg)
    return GansformerConfig(
        resolution=arguments["img_resolution"],
        components=arguments.get("k", 1) - 1 if attends else 0,
        latent_dim=arguments["z_dim"],
        c_dim=arguments.get("c_dim", 0),
        image_channels=arguments.get("img_channels", 3),
        mapping_layers=mapping.get("num_layers", 8),
        mapping_width=mapping.get("layer_dim"),
        mapping_resnet=bool(mapping.get("resnet", False)),
        mapping_attention=mapping_attention(mapping),
        mapping_positions=bool(mapping.get("use_pos", False)),
        rate_multiplier=mapping.get("lrmul", 0.01),
        normalize_global=bool(mapping.get("normalize_global", True)),
        channel_base=synthesis.get("channel_base", 32768),
        channel_max=synthesis.get("channel_max", 512),
        image_path=synthesis.get("architecture", "skip"),
        style=bool(synthesis.get("style", True)),
        attention=image_attention(synthesis) if attends else None,
        positions=bool(synthesis.get("use_pos", False)),
        start=synthesis.get("start_res", 0),
        end=synthesis.get("end_res", 20),
        position_dim=synthesis.get("pos_dim"),
        directions=synthesis.get("pos_directions_num", 2),
    )


def mapping_attention(mapping: Arguments) -> BipartiteConfig | None:
    """Return how components attend to each other, or None."""
    if not (mapping.get("transformer", False) and mapping.get("ltnt2ltnt", False)):
        return None
    gate = bool(mapping.get("ltnt_gate", False))
    return BipartiteConfig(
        heads=mapping.get("num_heads", 1),
        integration=mapping.get("integration", "add"),
        norm=NORMS[mapping.get("norm")],
        latent_gate=gate,
        image_gate=gate,
        dropout=mapping.get("attention_dropout", 0.12),
    )


def image_attention(synthesis: Arguments) -> BipartiteConfig:
    """Return how places attend to components."""
    return BipartiteConfig(
        heads=synthesis.get("num_heads", 1),
        integration=synthesis.get("integration", "add"),
        norm=NORMS[synthesis.get("norm")],
        duplex=bool(synthesis.get("kmeans", False)),
        rounds=synthesis.get("kmeans_iters", 1),
        iterative=bool(synthesis.get("iterative", False)),
        latent_gate=bool(synthesis.get("ltnt_gate", False)),
        image_gate=bool(synthesis.get("img_gate", False)),
        dropout=synthesis.get("attention_dropout", 0.12),
    )


def gansformer_state(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors that a network holds, without those that are computed."""
    return {
        name: tensor for name, tensor in tensors.items() if name.rpartition(".")[2] not in DERIVED
    }


def is_gansformer(tensors: Mapping[str, Tensor]) -> bool:
    """Return whether tensors have the names of the GANsformer's generator."""
    return "mapping.global_mlp.out_layer.weight" in tensors
