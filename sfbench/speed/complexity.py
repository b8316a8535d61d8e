"""Parameters and floating-point operations, counted on the meta device: nothing is computed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import nn

from sfbench.api.errors import first_line
from sfbench.api.protocols import ForeignRuntime, ImageGenerator, Staged
from sfbench.speed.foreign import foreign_reading
from sfbench.speed.operations import HOW, Counter
from sfbench.speed.stages import stage_operations
from sfbench.values.metric_names import FLOPS, PARAMETERS
from sfbench.values.records import Reading


def parameter_reading(generator: ImageGenerator, module: nn.Module | None) -> Reading:
    """Return the number of parameters (shared ones count once)."""
    if isinstance(generator, ForeignRuntime):
        return foreign_reading(PARAMETERS, generator.model_size.parameters, generator)
    if module is None:
        return Reading(metric=PARAMETERS, reason="the generator has no nn.Module")
    count = sum(parameter.numel() for parameter in module.parameters())
    return Reading(metric=PARAMETERS, value=count)


def flop_reading(build_on_meta: Callable[[], ImageGenerator]) -> Reading:
    """Return the operations per image of matrix products and convolutions; a multiply-add is two.

    Null with the reason for a model that cannot be built or run on the meta device.
    """
    try:
        generator = build_on_meta()
        latents = generator.draw_latents([0])
        if isinstance(generator, Staged):
            return stage_reading(generator, latents)
        with Counter() as counter, torch.no_grad():
            generator.synthesize(latents)
    except Exception as error:  # noqa: BLE001  # a model that cannot run on meta may raise anything
        return Reading(metric=FLOPS, reason=f"not on the meta device: {first_line(error, 120)}")
    if counter.total == 0:
        return Reading(metric=FLOPS, reason="the counter recorded no operations")
    how = {"counter": f"{HOW} on the meta device", "batch": 1}
    return Reading(metric=FLOPS, value=counter.total, how=how)


def stage_reading(generator: Staged, latents: object) -> Reading:
    """Return the operations per image of a generator of parts: calls times those of one call."""
    with torch.no_grad():
        parts = stage_operations(generator, latents)
    how = {"counter": f"{HOW} on the meta device", "batch": 1, "parts": parts}
    return Reading(metric=FLOPS, value=sum(parts.values()), how=how)


def complexity(
    generator: ImageGenerator,
    module: nn.Module | None,
    build_on_meta: Callable[[], ImageGenerator],
) -> Iterator[Reading]:
    """Yield parameters and FLOPs."""
    yield parameter_reading(generator, module)
    yield flop_reading(build_on_meta)
