"""Builds StyleGAN2 from a request."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

from reference_models.checkpoints import load_generator
from reference_models.stylegan2 import StyleGAN2Config
from sfbench.api import BuildRequest, ModuleGenerator, WeightsError


def stylegan2(request: BuildRequest) -> ModuleGenerator:
    """Return StyleGAN2 with the file's weights or random initial ones.

    Raises WeightsError when the file does not fit.
    """
    options: Any = request.options
    config = StyleGAN2Config(
        resolution=request.resolution,
        c_dim=options["c_dim"],
        mapping_layers=options["mapping_layers"],
        channel_base=options["channel_base"],
        channel_max=options["channel_max"],
        image_path=options["image_path"],
    )
    try:
        module, found = load_generator(config, request.weights, request.seed)
    except ValueError as error:
        msg = f"{request.weights}: {error}"
        raise WeightsError(msg) from None
    random_noise = options["noise"] == "random"
    fixed = {} if random_noise else {"noise": options["noise"]}
    return ModuleGenerator(
        module,
        request,
        latent_shape=(module.mapping.z_dim,),
        classes=module.mapping.c_dim,
        noise_shapes=module.noise_shapes if random_noise else (),
        architecture=dataclasses.asdict(found),
        forward=functools.partial(module, truncation_psi=options["truncation_psi"], **fixed),
    )
