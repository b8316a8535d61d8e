"""Builds a case's generator from its plugin's spec."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sfbench.api.errors import ContractError, UnsupportedError
from sfbench.api.protocols import ImageGenerator
from sfbench.api.spec import BuildRequest, GeneratorSpec
from sfbench.hardware.policy import TORCH_DTYPES
from sfbench.values.case import Case

MEMBERS = ("resolution", "draw_latents", "synthesize")
"""What every ImageGenerator has."""
META = "meta"
"""torch's device of shapes alone, where no weights are needed."""


class WatchedRequest(BuildRequest):
    """A request that knows which of its fields were looked at."""

    __slots__ = ("asked",)
    asked: set[str]

    def __init__(self, **fields: Any) -> None:
        object.__setattr__(self, "asked", set())
        super().__init__(**fields)

    def __getattribute__(self, name: str) -> Any:
        """Return an attribute, and note that it was asked for."""
        super().__getattribute__("asked").add(name)
        return super().__getattribute__(name)


def build(spec: GeneratorSpec, case: Case, where: str) -> ImageGenerator:
    """Return the case's generator on a device ("meta" too).

    Constructors of torch modules use torch's global generator; it is seeded for the build and
    restored, so that plain modules also start from the same weights each time. Raises ContractError
    for anything but an ImageGenerator, and UnsupportedError where weights are given that the plugin
    never looked at: its images would be those of other weights.
    """
    import torch  # slow

    request = WatchedRequest(
        resolution=case.resolution,
        width=case.width,
        options=case.options,
        weights=None if case.weights.path is None else Path(case.weights.path),
        seed=case.seed,
        device=where,
        dtype=TORCH_DTYPES[case.dtype],
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(case.seed)
        made = spec.build(request)
    asked = set(request.asked)
    lacking = [name for name in MEMBERS if not hasattr(made, name)]
    if lacking:
        msg = (
            f"build returned {type(made).__name__} without {', '.join(lacking)}; expected an "
            "ImageGenerator, e.g. ModuleGenerator(module, request, latent_shape=...)"
        )
        raise ContractError(msg)
    if request.weights is not None and where != META and "weights" not in asked:
        msg = (
            f"{spec.name} does not take --weights: its build never looked at request.weights, so the "
            "images would not be those of the file"
        )
        raise UnsupportedError(msg)
    return made
