"""Pictures of styles: truncation, interpolation, and mixing by layer (arXiv 1812.04948)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from sfbench.api.inspecting import StyleBased
from sfbench.api.protocols import ImageGenerator
from sfbench.inspection.tiles import pixels_of, table

PSI = (0.0, 0.25, 0.5, 0.75, 1.0)
STEPS = 9
GROUPS = ("coarse", "middle", "fine")


def drawn(generator: StyleBased, latents: Any, styles: Sequence[Tensor]) -> Tensor:
    """Return the images of several versions of one image's styles, one call each, as pixels."""
    return pixels_of(torch.cat([generator.synthesize_styles(w, latents) for w in styles]))


def truncation(
    generator: ImageGenerator, styles: StyleBased, seeds: Sequence[int]
) -> tuple[Image.Image, str]:
    """Return one row per seed: w pulled toward the mean style, psi from 0 (the mean) to 1 (as is).

    w' = w_avg + psi (w - w_avg), in every layer (1812.04948, appendix B).
    """
    rows = []
    mean = styles.mean_style()
    for seed in seeds:
        latents = generator.draw_latents([seed])
        w = styles.styles(latents)
        rows.append(drawn(styles, latents, [mean + psi * (w - mean) for psi in PSI]))
    picture = table(rows, [f"psi {psi:g}" for psi in PSI], [f"seed {seed}" for seed in seeds])
    return picture, (
        "Truncation: the style of each seed pulled toward the mean style, w' = w_avg + psi (w - "
        "w_avg), in every layer; the noise of a row is that of its seed."
    )


def interpolation(
    generator: ImageGenerator, styles: StyleBased, seeds: Sequence[int]
) -> tuple[Image.Image, str]:
    """Return one row per pair of seeds: nine styles on the straight line between them."""
    rows, names = [], []
    for first, second in zip(seeds[::2], seeds[1::2], strict=False):
        latents = generator.draw_latents([first])
        ends = styles.styles(latents), styles.styles(generator.draw_latents([second]))
        places = [step / (STEPS - 1) for step in range(STEPS)]
        rows.append(drawn(styles, latents, [torch.lerp(*ends, place) for place in places]))
        names.append(f"{first} to {second}")
    return table(rows, names=names), (
        "Interpolation: styles at equal steps on the straight line between those of two seeds; "
        "the noise is that of the first."
    )


def mixing(
    generator: ImageGenerator, styles: StyleBased, seeds: Sequence[int]
) -> tuple[Image.Image, str]:
    """Return one row per pair of seeds: A, B, then A with styles of B in some of its layers."""
    groups = layer_groups(styles.style_resolutions)
    rows, names = [], []
    for first, second in zip(seeds[::2], seeds[1::2], strict=False):
        latents = generator.draw_latents([first])
        a, b = styles.styles(latents), styles.styles(generator.draw_latents([second]))
        mixed = []
        for places in groups.values():
            w = a.clone()
            w[:, places] = b[:, places]
            mixed.append(w)
        rows.append(drawn(styles, latents, [a, b, *mixed]))
        names.append(f"{first}, {second}")
    columns = ["A", "B", *(f"{name} of B" for name in groups)]
    what = "; ".join(
        f"{name}: {span([styles.style_resolutions[place] for place in places])} px, "
        f"w {span(places)}"
        for name, places in groups.items()
    )
    return table(rows, columns, names), (
        f"Style mixing: A with the styles of B in some layers, noise of A ({what}). The first vector "
        "of a resolution also colors the image of the resolution before it."
    )


def layer_groups(resolutions: Sequence[int]) -> dict[str, list[int]]:
    """Return which style vectors are coarse, middle and fine: whole resolutions, in three parts.

    A generator of fewer resolutions has fewer parts.
    """
    sides = sorted(set(resolutions))
    count = min(len(GROUPS), len(sides))
    names = GROUPS if count == len(GROUPS) else (GROUPS[0], GROUPS[2])[:count]
    part = {side: names[index * count // len(sides)] for index, side in enumerate(sides)}
    return {
        name: [place for place, side in enumerate(resolutions) if part[side] == name]
        for name in names
    }


def span(values: Sequence[int]) -> str:
    """Return the first and the last of some numbers."""
    return str(values[0]) if values[0] == values[-1] else f"{values[0]} to {values[-1]}"
