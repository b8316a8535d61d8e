"""A learner from a training preset, for the scripts that time one."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from sfbench.api import BuildRequest, LearnRequest
from sfbench.catalogue.registry import find_generator, load_plugin, plugin_sources


def preset_learner(
    model: str,
    name: str,
    batch: int | None = None,
    device: str = "cpu",
    more: Mapping[str, str] = MappingProxyType({}),
) -> tuple[Any, Any]:
    """Return the learner of a preset, and the preset; `batch` and `more` options beside its own.

    Groups of minibatch deviation are no larger than the batch.
    """
    _, spec = find_generator([load_plugin(source) for source in plugin_sources([], [])], model)
    preset = next(preset for preset in spec.presets if preset.name == name)
    options = {option.name: option.default for option in spec.options} | dict(preset.options)
    options |= more
    settings = {option.name: option.default for option in spec.settings} | dict(preset.settings)
    images = batch or preset.batch
    if settings["deviation_group"] is not None:
        settings["deviation_group"] = min(settings["deviation_group"], images)
    if spec.build_learner is None:
        sys.exit(f"{model} cannot be trained")
    request = LearnRequest(
        build=BuildRequest(resolution=preset.resolution, options=options, device=device),
        settings=settings,
        batch=images,
        shard=images,
    )
    return spec.build_learner(request), preset
