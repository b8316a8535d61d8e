"""Whether torch used a slow fallback: unfused attention, convolution without a library."""

from __future__ import annotations

from collections.abc import Callable

import torch

from sfbench.hardware.backend import Backend

STAND_INS = (
    "_scaled_dot_product_attention_math",
    "slow_conv",
    "_slow_conv2d",
    "thnn_conv",
)
"""Names in torch's profiler of the fallbacks used when no fast kernel accepts the inputs."""


def fallback_kernels(work: Callable[[], object], backend: Backend) -> list[str]:
    """Return the names of the fallbacks that one call uses; nothing is timed here."""
    # `torch.profiler` would import torch's compilers, which takes over a second.
    with torch.autograd.profiler.profile(use_cpu=True) as profile:
        work()
        backend.synchronize()
    names = {str(event.key) for event in profile.key_averages()}
    return sorted(name for name in names if any(sign in name for sign in STAND_INS))
