"""Draws a grid of images from seeds as a PNG file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image

from sfbench import device
from sfbench.api.errors import UsageError
from sfbench.api.spec import GeneratorSpec
from sfbench.building import build
from sfbench.inspection.tiles import grid, pixels_of
from sfbench.plan import Case

BATCH = 16
MOST_IMAGES = 4096


def parse_seeds(text: str) -> list[int]:
    """Return the seeds that "0-15" or "1,5,7" stand for; raises UsageError for anything else."""
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        ends = [first, last] if dash else [first, first]
        if not all(end.strip().isdecimal() for end in ends) or int(ends[1]) < int(ends[0]):
            msg = f"--seeds {text}: expected whole numbers, e.g. 0-15 or 1,5,7"
            raise UsageError(msg)
        if int(ends[1]) - int(ends[0]) >= MOST_IMAGES:
            msg = f"--seeds {text}: expected at most {MOST_IMAGES} images"
            raise UsageError(msg)
        seeds += range(int(ends[0]), int(ends[1]) + 1)
    return seeds


def draw_grid(spec: GeneratorSpec, case: Case, seeds: Sequence[int], output: Path) -> None:
    """Write the images of these seeds, row by row, as one PNG."""
    device.set_policy(case.dtype, case.threads)
    generator = build(spec, case, case.device)
    with torch.inference_mode():
        parts = [
            pixels_of(generator.synthesize(generator.draw_latents(seeds[i : i + BATCH])))
            for i in range(0, len(seeds), BATCH)
        ]
    Image.fromarray(grid(torch.cat(parts))).save(output)
