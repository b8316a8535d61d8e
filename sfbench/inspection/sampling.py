"""Writes a grid of images generated from seeds as a PNG file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image

from sfbench.api.spec import GeneratorSpec
from sfbench.generators.building import build
from sfbench.generators.contract import check_finite
from sfbench.hardware.devices import find_backend
from sfbench.hardware.policy import set_policy
from sfbench.inspection.tiles import grid, pixels_of
from sfbench.values.case import Case

BATCH = 16


def draw_grid(spec: GeneratorSpec, case: Case, seeds: Sequence[int], output: Path) -> None:
    """Write the images of these seeds, row by row, as one PNG.

    Raises NonFiniteError for NaN or infinity, which would look like a color.
    """
    set_policy(find_backend(case.device), case.dtype, case.threads)
    generator = build(spec, case, case.device)
    parts = []
    with torch.inference_mode():
        for start in range(0, len(seeds), BATCH):
            images = generator.synthesize(generator.draw_latents(seeds[start : start + BATCH]))
            check_finite(images)
            parts.append(pixels_of(images))
    Image.fromarray(grid(torch.cat(parts))).save(output)
