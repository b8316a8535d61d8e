"""Slicing and tiling of a pipeline's decoder, as options ask for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sfbench.api import UnsupportedError


def switch_decoder(decoder: Any, options: Mapping[str, Any]) -> dict[str, bool]:
    """Switch on what is asked for, and return it; raises UnsupportedError where it cannot be."""
    found = {name: bool(options[name]) for name in ("vae_slicing", "vae_tiling")}
    for name in (name for name, wanted in found.items() if wanted):
        switch = getattr(decoder, name.replace("vae_", "enable_"), None)
        if switch is None:
            msg = f"--option {name}: the pipeline has no decoder that can"
            raise UnsupportedError(msg)
        switch()
    return found
