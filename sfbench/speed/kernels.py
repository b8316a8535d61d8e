"""Whether torch ran a slow stand-in: attention by parts, convolution without a library."""

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
"""Names under which torch's profiler shows what it does when no fast kernel takes the inputs."""


def fallback_kernels(work: Callable[[], object], backend: Backend) -> list[str]:
    """Return the stand-ins that one call uses, by name; nothing is timed here."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities) as profile:
        work()
        backend.synchronize()
    names = {str(event.key) for event in profile.key_averages()}
    return sorted(name for name in names if any(sign in name for sign in STAND_INS))
