"""A generator that maps a latent to an image with one linear layer."""

from __future__ import annotations

from sfbench.api import BuildRequest, GeneratorSpec, ImageGenerator, ModuleGenerator, hookimpl


def build(request: BuildRequest) -> ImageGenerator:
    """Return the generator at the requested resolution."""
    from torch import nn

    side = request.resolution
    module = nn.Sequential(
        nn.Linear(64, 3 * side * side), nn.Tanh(), nn.Unflatten(1, (3, side, side))
    )
    return ModuleGenerator(module, request, latent_shape=(64,))


@hookimpl
def sfbench_generators() -> list[GeneratorSpec]:
    """Return the one model."""
    return [
        GeneratorSpec(
            name="pixelnoise", summary="one linear layer", resolutions=(16, 32, 64), build=build
        )
    ]
