"""Writes a grid of images generated from seeds as a PNG file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image

from sfbench.api.spec import GeneratorSpec
from sfbench.generators.building import build
from sfbench.hardware.devices import find_backend
from sfbench.hardware.policy import set_policy
from sfbench.inspection.tiles import grid, pixels_of
from sfbench.values.case import Case

BATCH = 16


def draw_grid(spec: GeneratorSpec, case: Case, seeds: Sequence[int], output: Path) -> None:
    """Write the images of these seeds, row by row, as one PNG."""
    set_policy(find_backend(case.device), case.dtype, case.threads)
    generator = build(spec, case, case.device)
    with torch.inference_mode():
        parts = [
            pixels_of(generator.synthesize(generator.draw_latents(seeds[i : i + BATCH])))
            for i in range(0, len(seeds), BATCH)
        ]
    Image.fromarray(grid(torch.cat(parts))).save(output)
