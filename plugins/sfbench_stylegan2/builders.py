"""Builds StyleGAN2 from a request."""

from __future__ import annotations

import dataclasses
from typing import Any

from reference_models.checkpoints import Config, load_generator
from reference_models.native import use_native_convolutions
from reference_models.presets import STYLEGAN2_CHANNELS
from reference_models.style_generator import StyleGenerator
from reference_models.stylegan2 import StyleGAN2Config
from sfbench.api import BuildRequest, StyleModuleGenerator, UsageError, WeightsError
from sfbench.api.own_kernels import use_own_kernels


def stylegan2(request: BuildRequest) -> StyleModuleGenerator:
    """Return StyleGAN2 with the file's weights or random initial ones."""
    return adapt(*loaded_stylegan2(request), request)


def loaded_stylegan2(request: BuildRequest) -> tuple[StyleGenerator, Config]:
    """Return the module and its architecture; raises WeightsError when the file does not fit."""
    options: Any = request.options
    base, most = STYLEGAN2_CHANNELS[options["preset"]]
    try:
        config = StyleGAN2Config(
            resolution=request.resolution,
            c_dim=options["c_dim"],
            mapping_layers=options["mapping_layers"],
            channel_base=options["channel_base"] or base,
            channel_max=options["channel_max"] or most,
            image_path=options["image_path"],
        )
    except ValueError as error:
        raise UsageError(str(error)) from None
    try:
        return load_generator(config, request.weights, request.seed)
    except ValueError as error:
        msg = f"{request.weights}: {error}"
        raise WeightsError(msg) from None


def adapt(module: StyleGenerator, config: Config, request: BuildRequest) -> StyleModuleGenerator:
    """Return the module as an ImageGenerator with the requested noise and truncation."""
    options: Any = request.options
    made = StyleModuleGenerator(
        module,
        request,
        noise=options["noise"],
        truncation_psi=options["truncation_psi"],
        architecture=dataclasses.asdict(config),
    )
    if options["kernels"] == "native":
        use_own_kernels(module, use_native_convolutions)
    return made
