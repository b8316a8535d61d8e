"""The contract of every generator, checked on a built one: the trial's reference check.

The plugin author's full suite is `sfbench.testing`; this is the part each trial repeats.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sfbench.api.errors import ContractError, NonFiniteError
from sfbench.api.protocols import ImageGenerator
from sfbench.values.records import Reading

SEEDS = (0, 1, 2)
BATCH_TOLERANCE = 1e-3
HALF_TOLERANCE = 5e-2
COMPILE_TOLERANCE = 1e-3
RANGE_LIMIT = 100.0
IMAGE_CHANNELS = (1, 3)


def draw(generator: ImageGenerator, seeds: Sequence[int]) -> Tensor:
    """Return images [len(seeds), channels, side, side] as float32 on the host."""
    with torch.inference_mode():
        return generator.synthesize(generator.draw_latents(seeds)).float().cpu()


def check_images(generator: ImageGenerator, resolution: int) -> Tensor:
    """Return the images of a few fixed seeds after checking shape, type, values and range.

    Raises ContractError with what was found and expected; NonFiniteError for NaN or infinity.
    """
    images = draw(generator, SEEDS)
    side = (resolution, resolution)
    if images.ndim != 4 or images.shape[1] not in IMAGE_CHANNELS or tuple(images.shape[2:]) != side:  # noqa: PLR2004  # batch, channels, height, width
        msg = (
            f"images have shape {tuple(images.shape)}; expected "
            f"({len(SEEDS)}, 1 or 3, {resolution}, {resolution})"
        )
        raise ContractError(msg)
    check_finite(images)
    largest = images.abs().max().item()
    if largest > RANGE_LIMIT:
        msg = f"image values reach {largest:.3g}; expected about -1 to 1"
        raise ContractError(msg)
    if torch.equal(images[0], images[1]):
        msg = "seeds 0 and 1 give the same image; an image must depend on its seed"
        raise ContractError(msg)
    return images


def check_finite(images: Tensor) -> None:
    """Raise NonFiniteError when any value is NaN or infinite."""
    if not images.isfinite().all():
        bad = int((~images.isfinite()).sum())
        msg = f"{bad} of {images.numel()} image values are NaN or infinite"
        raise NonFiniteError(msg)


def check_batch_independence(
    generator: ImageGenerator, together: Tensor, tolerance: float = BATCH_TOLERANCE
) -> float:
    """Return how far an image alone differs from its row of a batch, relative to the largest value.

    Raises ContractError beyond the tolerance.
    """
    alone = draw(generator, SEEDS[1:2])
    difference = relative_difference(alone[0], together[1])
    if not difference <= tolerance:
        msg = (
            f"image of seed 1 alone differs from its row of a batch by {difference:.1e} of the "
            f"largest value; expected at most {tolerance:.0e} (is batch normalization in training "
            "mode, or is noise drawn for the batch?)"
        )
        raise ContractError(msg)
    return difference


def relative_difference(first: Tensor, second: Tensor) -> float:
    """Return the largest absolute difference over the largest absolute value of `second`."""
    scale = max(second.abs().max().item(), 1e-12)
    return (first - second).abs().max().item() / scale


def difference_reading(images: Tensor, expected: Tensor) -> Reading:
    """Return how far images are from those of eager single precision, relative to the largest value."""
    value = relative_difference(images, expected)
    how = {
        "images": len(expected),
        "mean": ((images - expected).abs().mean() / expected.abs().mean()).item(),
        "estimate": "largest absolute difference over largest absolute value",
    }
    return Reading(metric="difference.eager_fp32", value=value, how=how)


def batch_tolerance(dtype: str) -> float:
    """Return how far kernels of different batch sizes may differ in that precision."""
    return BATCH_TOLERANCE if dtype == "fp32" else HALF_TOLERANCE


def module_of(generator: ImageGenerator) -> torch.nn.Module | None:
    """Return the generator's `nn.Module`, or None for one that has none."""
    module: Any = getattr(generator, "module", None)
    return module if isinstance(module, torch.nn.Module) else None
