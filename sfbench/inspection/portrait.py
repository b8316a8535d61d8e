"""Draws the pictures of one generator into its album."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from sfbench.api.inspecting import Attentive, LatentAttentive, StyleBased
from sfbench.api.protocols import ImageGenerator
from sfbench.generators.contract import check_finite
from sfbench.inspection.attention import attention, components, linformer_tokens
from sfbench.inspection.styles import interpolation, mixing, truncation
from sfbench.inspection.tiles import grid, pixels_of
from sfbench.store import album
from sfbench.store.whole_file import whole_file

SAMPLE_SEEDS = range(8)
"""The same for every model, so that pictures of models can be compared side by side."""
FEW, PAIRS = slice(0, 3), slice(0, 6)
Picture = tuple[Image.Image, str]


def samples(generator: ImageGenerator, seeds: Sequence[int], batch: int) -> Picture:
    """Return the images of these seeds in one row, made in whole batches of `batch`.

    Other sizes would be compiled or captured again; padding of the last batch is not shown.
    """
    filled = [*seeds, *([seeds[-1]] * (-len(seeds) % batch))]
    parts = []
    for start in range(0, len(filled), batch):
        images = generator.synthesize(generator.draw_latents(filled[start : start + batch]))
        parts.append(images)
    shown = torch.cat(parts)[: len(seeds)]
    check_finite(shown)
    picture = Image.fromarray(grid(pixels_of(shown), across=len(seeds)))
    return picture, f"Images of seeds {', '.join(map(str, seeds))}, uncurated."


def pictures(
    generator: ImageGenerator, seeds: Sequence[int], batch: int
) -> Iterator[tuple[str, Callable[[], Picture | None] | str]]:
    """Yield each kind of picture with its drawing function, or why this generator has none."""
    yield "samples", lambda: samples(generator, SAMPLE_SEEDS, batch)
    if isinstance(generator, StyleBased):
        yield "truncation", lambda: truncation(generator, generator, seeds[FEW])
        yield "interpolation", lambda: interpolation(generator, generator, seeds[PAIRS])
        yield "mixing", lambda: mixing(generator, generator, seeds[PAIRS])
    else:
        for kind in ("truncation", "interpolation", "mixing"):
            yield kind, "its generator has no style vectors (sfbench.api.StyleBased)"
    if isinstance(generator, Attentive):
        yield "attention", lambda: attention(generator, generator, seeds[0])
        yield "linformer-tokens", lambda: linformer_tokens(generator, generator, seeds[0])
    else:
        for kind in ("attention", "linformer-tokens"):
            yield kind, "its generator exposes no attention (sfbench.api.Attentive)"
    if isinstance(generator, LatentAttentive):
        yield "components", lambda: components(generator, generator, seeds[0])
    else:
        yield "components", "its places attend to no latents (sfbench.api.LatentAttentive)"


def keep(
    picture: Picture, kind: str, folder: Path, case: Mapping[str, Any], how: Mapping[str, Any]
) -> Path:
    """Write a picture as PNG into its album and register it; return its file."""
    image, caption = picture
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{kind}.png"
    with whole_file(path) as file:
        image.save(file, format="PNG")
    album.enter(folder, case, kind, caption, how)
    return path


def portray(
    generator: ImageGenerator,
    folder: Path,
    case: Mapping[str, Any],
    seeds: Sequence[int],
    how: Mapping[str, Any],
) -> Iterator[tuple[str, Path | str]]:
    """Draw every kind of picture; yield each with its file, or the reason why there is none."""
    for kind, draw in pictures(generator, seeds, case["batch"]):
        if isinstance(draw, str):
            yield kind, draw
            continue
        with torch.inference_mode():
            picture = draw()
        if picture is None:
            yield kind, "its attention has no projected keys"
        else:
            yield kind, keep(picture, kind, folder, case, how)
