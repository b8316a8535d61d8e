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
from sfbench.values.sizes import Size

SEEDS = (0, 1, 2)
BATCH_TOLERANCE = 1e-3
HALF_TOLERANCE = 5e-2
COMPILE_TOLERANCE = 1e-3
RANGE_LIMIT = 100.0
IMAGE_CHANNELS = (1, 3)
MORE_SEEDS = range(3, 16)
"""Seeds whose images must all be free of negative values before a range of [0, 1] is suspected."""
TENSOR_FROM = {
    "numpy.ndarray": "torch.from_numpy(x)",
    "list": "torch.stack(x)",
    "tuple": "torch.stack(x)",
    "PIL.Image.Image": "to_tensor(x) * 2 - 1",
}
"""What makes a tensor of what was returned."""


def draw(generator: ImageGenerator, seeds: Sequence[int]) -> Tensor:
    """Return images [len(seeds), channels, side, side] as float32 on the host.

    Raises ContractError for anything but a tensor of floating-point numbers.
    """
    with torch.inference_mode():
        images: object = generator.synthesize(generator.draw_latents(seeds))
    if not isinstance(images, Tensor):
        kind = f"{type(images).__module__}.{type(images).__name__}".removeprefix("builtins.")
        msg = f"synthesize returned {kind}; expected a torch.Tensor: {TENSOR_FROM.get(kind, 'one')}"
        raise ContractError(msg)
    if not images.is_floating_point():
        msg = (
            f"synthesize returned {images.dtype}; expected floating-point images in [-1, 1]: "
            "x.float() / 127.5 - 1 of 8-bit ones"
        )
        raise ContractError(msg)
    return images.float().cpu()


def check_images(generator: ImageGenerator, size: Size) -> Tensor:
    """Return the images of a few fixed seeds after checking shape, type, values and range.

    Raises ContractError with what was found and expected; NonFiniteError for NaN or infinity.
    """
    images = draw(generator, SEEDS)
    if images.ndim != 4 or images.shape[1] not in IMAGE_CHANNELS or tuple(images.shape[2:]) != size:  # noqa: PLR2004  # batch, channels, height, width
        hint = ""
        if images.ndim == 4 and images.shape[3] in IMAGE_CHANNELS:  # noqa: PLR2004
            hint = ": channels come second, x.permute(0, 3, 1, 2)"
        msg = (
            f"images have shape {tuple(images.shape)}; expected "
            f"({len(SEEDS)}, 1 or 3, {size.height}, {size.width}){hint}"
        )
        raise ContractError(msg)
    check_finite(images)
    largest = images.abs().max().item()
    if largest > RANGE_LIMIT:
        msg = (
            f"image values reach {largest:.3g}; expected about -1 to 1 (x / 127.5 - 1 of 0 to 255)"
        )
        raise ContractError(msg)
    if torch.equal(images[0], images[1]):
        msg = "seeds 0 and 1 give the same image; an image must depend on its seed"
        raise ContractError(msg)
    return images


def seems_unit_range(generator: ImageGenerator, images: Tensor) -> bool:
    """Return whether images seem to be in [0, 1] and not in [-1, 1]: none of many has a negative value.

    `images` are those of the first seeds. Such images are judged at half their contrast.
    """
    if images.min() < 0 or images.max() > 1:
        return False
    more = draw(generator, MORE_SEEDS)
    return bool(more.min() >= 0 and more.max() <= 1)


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
