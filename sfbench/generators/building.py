"""Builds a case's generator from its plugin's spec."""

from __future__ import annotations

from pathlib import Path

from sfbench.api.errors import ContractError
from sfbench.api.protocols import ImageGenerator
from sfbench.api.spec import BuildRequest, GeneratorSpec
from sfbench.hardware.policy import TORCH_DTYPES
from sfbench.values.case import Case

MEMBERS = ("resolution", "draw_latents", "synthesize")
"""What every ImageGenerator has."""


def build(spec: GeneratorSpec, case: Case, where: str) -> ImageGenerator:
    """Return the case's generator on a device ("meta" too).

    Constructors of torch modules use torch's global generator; it is seeded for the build and
    restored, so that plain modules also start from the same weights each time. Raises ContractError
    for anything but an ImageGenerator.
    """
    import torch  # slow

    request = BuildRequest(
        resolution=case.resolution,
        options=case.options,
        weights=None if case.weights.path is None else Path(case.weights.path),
        seed=case.seed,
        device=where,
        dtype=TORCH_DTYPES[case.dtype],
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(case.seed)
        made = spec.build(request)
    lacking = [name for name in MEMBERS if not hasattr(made, name)]
    if lacking:
        msg = (
            f"build returned {type(made).__name__} without {', '.join(lacking)}; expected an "
            "ImageGenerator, e.g. ModuleGenerator(module, request, latent_shape=...)"
        )
        raise ContractError(msg)
    return made
