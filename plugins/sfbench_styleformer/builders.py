"""Builds the Styleformer family from a request: sizes from options, weights from a file."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from reference_models.attention_maps import captured, layers_of
from reference_models.checkpoints import Config, load_generator
from reference_models.native import use_native
from reference_models.presets import StyleformerPreset, by_resolution, preset
from reference_models.style_generator import StyleGenerator
from reference_models.styleformer_c import StyleformerCConfig
from reference_models.styleformer_config import StyleformerConfig
from sfbench.api import (
    AttentionLayer,
    AttentionMaps,
    BuildRequest,
    Latents,
    StyleModuleGenerator,
    UsageError,
    WeightsError,
)
from sfbench.api.own_kernels import use_own_kernels

SWITCHES = (
    "c_dim",
    "mapping_layers",
    "minimum_heads",
    "head_width",
    "style_injection",
    "pre_norm",
    "feed_forward",
    "residual",
    "position_encoding",
)


def styleformer(request: BuildRequest, *, linformer: bool) -> StyleformerGenerator:
    """Return Styleformer with full or Linformer attention."""
    return adapt(*loaded_styleformer(request, linformer=linformer), request)


def loaded_styleformer(request: BuildRequest, *, linformer: bool) -> tuple[StyleGenerator, Config]:
    """Return the module and its architecture; raises WeightsError for another model's weights."""
    sizes = chosen_sizes(request, linformer=linformer)
    config = config_of(request, sizes, linformer=linformer)
    module, found = load(request, config)
    if isinstance(found, StyleformerConfig) and found.linformer != linformer:
        name = "styleformer-linformer" if found.linformer else "styleformer"
        msg = f"{request.weights}: it holds a {name} model; run it with --model {name}"
        raise WeightsError(msg)
    return module, found


def styleformer_c(request: BuildRequest) -> StyleformerGenerator:
    """Return Styleformer up to the split resolution (at most half the image's), StyleGAN2 above."""
    return adapt(*loaded_styleformer_c(request), request)


def loaded_styleformer_c(request: BuildRequest) -> tuple[StyleGenerator, Config]:
    """Return the module and its architecture."""
    options: Any = request.options
    split = min(options["split"], request.resolution // 2)
    try:
        sizes = by_resolution(split, linformer=False)
        config = StyleformerCConfig(
            low=config_of(request, sizes, linformer=False),
            resolution=request.resolution,
            channel_base=options["channel_base"],
        )
    except ValueError as error:
        msg = f"option split={split}: {error}"
        raise UsageError(msg) from None
    return load(request, config)


def chosen_sizes(request: BuildRequest, *, linformer: bool) -> StyleformerPreset:
    """Return the sizes that the option `preset` names; raises UsageError for another resolution."""
    name = str(request.options["preset"])
    if name == "by-resolution":
        return by_resolution(request.resolution, linformer=linformer)
    sizes = preset(name)
    if sizes.resolution != request.resolution:
        msg = (
            f"preset {name} is made for {sizes.resolution} px, not {request.resolution}; "
            f"use --res {sizes.resolution} or leave the preset out"
        )
        raise UsageError(msg)
    return sizes


def config_of(
    request: BuildRequest, sizes: StyleformerPreset, *, linformer: bool
) -> StyleformerConfig:
    """Return the architecture: sizes of the preset unless the options give them."""
    options: Any = request.options
    try:
        config = StyleformerConfig(
            widths=options["widths"] or sizes.widths,
            layers=options["layers"] or sizes.layers,
            start_resolution=sizes.start_resolution,
            linformer=linformer,
            **{name: options[name] for name in SWITCHES},
        )
    except ValueError as error:
        raise UsageError(str(error)) from None
    if config.resolution != sizes.resolution:
        msg = (
            f"{len(config.widths)} widths make {config.resolution} px; "
            f"{sizes.resolution} px needs {len(sizes.widths)}"
        )
        raise UsageError(msg)
    return config


def load(
    request: BuildRequest, config: StyleformerConfig | StyleformerCConfig
) -> tuple[StyleGenerator, Config]:
    """Return the module with its weights; raises WeightsError when the file does not fit."""
    try:
        return load_generator(config, request.weights, request.seed)
    except ValueError as error:
        msg = f"{request.weights}: {error}"
        raise WeightsError(msg) from None


def adapt(module: StyleGenerator, config: Config, request: BuildRequest) -> StyleformerGenerator:
    """Return the module as an ImageGenerator with the requested noise and truncation."""
    options: Any = request.options
    made = StyleformerGenerator(
        module,
        request,
        noise=options["noise"],
        truncation_psi=options["truncation_psi"],
        architecture=dataclasses.asdict(config),
    )
    if options["kernels"] == "native":
        use_own_kernels(module, use_native)
    return made


class StyleformerGenerator(StyleModuleGenerator):
    """The module as an ImageGenerator whose styles and attention can be inspected."""

    @property
    def attention_layers(self) -> list[AttentionLayer]:
        """The attention layers, from the smallest map to the largest."""
        return [
            AttentionLayer(place.name, place.resolution, layer.heads, layer.keys)
            for place, layer in layers_of(self.module)
        ]

    def attention(self, latents: Latents, layer: str, queries: Sequence[int]) -> AttentionMaps:
        """Return what these query tokens of a layer attend to, and what each key covers."""
        with captured(self.module, layer) as seen:
            self.synthesize(latents)
        return AttentionMaps(*seen.attention(queries))
