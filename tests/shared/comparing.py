"""What the checks of reference numbers share: tolerances, errors, gradients."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from reference_models import official

VALUE_TOLERANCE = 5e-6
ACTIVATION_TOLERANCE = 2e-5
GRADIENT_TOLERANCE = 2e-5
PENALTY_GRADIENT_TOLERANCE = 1e-4
GRADIENT_FLOOR = 1e-6
NOISE_MARGIN = 3
WORST_ROUNDING = 1e-3

Arrays = Mapping[str, np.ndarray]
Check = tuple[str, float, float]
"""What was compared, its relative error, the tolerance."""


def relative_error(got: Tensor, expected: np.ndarray, floor: float = 0.0) -> float:
    """Return the largest absolute difference over the largest expected value (at least `floor`)."""
    reference = torch.from_numpy(np.asarray(expected))
    if got.shape != reference.shape:
        return float("inf")
    scale = max(reference.abs().max().item(), floor, 1e-30)
    error = ((got.detach() - reference).abs().max() / scale).item()
    return float("inf") if np.isnan(error) else error


def tensors(arrays: Arrays, prefix: str) -> dict[str, Tensor]:
    """Return the arrays under `prefix`, by the rest of their names."""
    return {
        key.removeprefix(prefix): torch.from_numpy(arrays[key].copy())
        for key in arrays
        if key.startswith(prefix)
    }


def gradient_checks(
    module: nn.Module,
    arrays: Arrays,
    prefix: str,
    tolerance: float,
    noise: Mapping[str, float] | None = None,
) -> Iterator[Check]:
    """Compare the gradients that `module` holds with the arrays under `prefix`.

    `noise` holds the rounding noise of each gradient, by the name of its parameter.
    """
    parameters = dict(module.named_parameters())
    expected = {key: arrays[key] for key in arrays if key.startswith(prefix)}
    largest = max((np.abs(g).max() for g in expected.values()), default=0.0)
    floor = GRADIENT_FLOOR / tolerance * largest
    for key, gradient in expected.items():
        name = official.official_name(key.removeprefix(prefix))
        if name is None:
            continue
        parameter = parameters[name]
        got = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        relative_noise = (
            NOISE_MARGIN * (noise or {}).get(name, 0.0) / max(np.abs(gradient).max(), floor, 1e-30)
        )
        allowed = max(tolerance, min(relative_noise, WORST_ROUNDING))
        yield key, relative_error(got, gradient, floor), allowed
