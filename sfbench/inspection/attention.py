"""Pictures of attention: what single positions attend to, and what Linformer's keys cover."""

from __future__ import annotations

import math

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sfbench.api.inspecting import AttentionLayer, Attentive, LatentAttentive
from sfbench.api.protocols import ImageGenerator
from sfbench.inspection.tiles import enlarged, grid, pixels_of, table

PLACES = ((0.25, 0.25), (0.25, 0.75), (0.5, 0.5), (0.75, 0.25), (0.75, 0.75))
"""Query positions, as fractions of height and width."""
COLORS = np.array(
    [(13, 8, 135), (126, 3, 168), (204, 71, 120), (248, 149, 64), (240, 249, 33)], dtype=float
)
"""From dark blue over violet to yellow: brightness rises throughout, for any color vision."""
SHOWN_SIDE = 32
MARK = torch.tensor([255, 255, 255], dtype=torch.uint8)


def attention(
    generator: ImageGenerator, attentive: Attentive, seed: int
) -> tuple[Image.Image, str]:
    """Return one row per query position: the image with a mark, then one map per resolution.

    A map is the mean over the heads of the last layer of its resolution, its largest value yellow.
    With projected keys (Linformer) each key is spread over the tokens it covers: weights times
    |E|, with rows of E normalized to sum to 1.
    """
    latents = generator.draw_latents([seed])
    image = enlarged(pixels_of(generator.synthesize(latents)))
    side = image.shape[-1]
    layers = list({layer.resolution: layer for layer in attentive.attention_layers}.values())
    maps = [place_maps(attentive, latents, layer, side) for layer in layers]
    rows = [
        torch.cat([marked(image, place), *(found[index : index + 1] for found in maps)])
        for index, place in enumerate(PLACES)
    ]
    projected = [layer for layer in layers if layer.keys != layer.resolution**2]
    names = [f"{layer.resolution} px" for layer in layers]
    told = ", ".join(f"{layer.name} ({layer.heads} heads)" for layer in layers)
    caption = (
        f"Attention for seed {seed} from the marked position, mean over heads: layers {told}. "
        "Yellow is the largest weight of each map."
    )
    if projected:
        sides = ", ".join(str(layer.resolution) for layer in projected)
        caption += (
            f" At {sides} px keys are {projected[0].keys} projected tokens: a map shows their "
            "weights times what each covers (|E|)."
        )
    return table(rows, ["image", *names]), caption


def place_maps(attentive: Attentive, latents: object, layer: AttentionLayer, side: int) -> Tensor:
    """Return what each of `PLACES` attends to, in colors: uint8 [places, 3, side, side]."""
    r = layer.resolution
    queries = [int(y * r) * r + int(x * r) for y, x in PLACES]
    found = attentive.attention(latents, layer.name, queries)
    weights = found.weights.float().mean(dim=1)[0].cpu()
    if found.cover is not None:
        weights = weights @ coverage(found.cover)
    return torch.cat([heat(weights.view(len(queries), r, r)[i], side) for i in range(len(queries))])


def coverage(cover: Tensor) -> Tensor:
    """Return |E| [keys, tokens] with rows summing to 1: the tokens each key comes from."""
    size = cover.float().abs().cpu()
    return size / size.sum(dim=1, keepdim=True)


def heat(values: Tensor, side: int, largest: float | None = None) -> Tensor:
    """Return a square map as colors: uint8 [1, 3, side, side], 0 dark, the largest value yellow."""
    most = values.max().clamp_min(1e-12) if largest is None else largest
    part = (values / most).clamp(0, 1).numpy()
    places = np.linspace(0, 1, len(COLORS))
    channels = [np.interp(part, places, COLORS[:, c]) for c in range(3)]
    pixels = torch.from_numpy(np.stack(channels).round().astype(np.uint8))[None]
    factor = max(1, side // pixels.shape[-1])
    large = pixels.repeat_interleave(factor, dim=-2).repeat_interleave(factor, dim=-1)
    if large.shape[-1] == side:
        return large
    return torch.nn.functional.interpolate(large.float(), (side, side)).round().to(torch.uint8)


def marked(image: Tensor, place: tuple[float, float]) -> Tensor:
    """Return the image [1, 3, side, side] with a white square, edged black, around a place."""
    found = image.clone()
    side = image.shape[-1]
    half = max(2, side // 24)
    y, x = (int(part * side) for part in place)
    for reach, tone in ((half + 1, torch.zeros_like(MARK)), (half, MARK)):
        rows = slice(max(0, y - reach), y + reach + 1)
        columns = slice(max(0, x - reach), x + reach + 1)
        found[0, :, rows, columns] = tone[:, None, None]
    inner = slice(max(0, y - half + 1), y + half), slice(max(0, x - half + 1), x + half)
    found[0, :, inner[0], inner[1]] = image[0, :, inner[0], inner[1]]
    return found


def components(
    generator: ImageGenerator, attentive: LatentAttentive, seed: int
) -> tuple[Image.Image, str]:
    """Return one row per latent: the image, then where it is attended to, one map per resolution.

    A map is the mean over the heads of the last layer of its resolution; yellow is attention by this
    latent alone.
    """
    latents = generator.draw_latents([seed])
    image = enlarged(pixels_of(generator.synthesize(latents)))
    side = image.shape[-1]
    layers = list({layer.resolution: layer for layer in attentive.component_layers}.values())
    maps = [
        attentive.component_maps(latents, layer.name).float().mean(dim=1)[0].cpu()
        for layer in layers
    ]
    rows = [
        torch.cat([image, *(heat(found[number], side, largest=1.0) for found in maps)])
        for number in range(layers[0].keys)
    ]
    told = ", ".join(layer.name for layer in layers)
    caption = (
        f"Where each of {layers[0].keys} latents is attended to, for seed {seed}: layers {told}, mean "
        "over heads; yellow: by this latent alone."
    )
    names = [f"{number + 1}" for number in range(layers[0].keys)]
    return table(rows, ["image", *(f"{layer.resolution} px" for layer in layers)], names), caption


def linformer_tokens(
    generator: ImageGenerator, attentive: Attentive, seed: int
) -> tuple[Image.Image, str] | None:
    """Return what each key of the first projected layer covers: one map per key, in key order.

    None for a generator without projected keys.
    """
    projected = [layer for layer in attentive.attention_layers if layer.keys != layer.resolution**2]
    if not projected:
        return None
    layer = projected[0]
    found = attentive.attention(generator.draw_latents([seed]), layer.name, [0])
    if found.cover is None:
        return None
    cover = found.cover.float().abs().cpu().view(-1, 1, layer.resolution, layer.resolution)
    if layer.resolution > SHOWN_SIDE:
        cover = torch.nn.functional.adaptive_avg_pool2d(cover, SHOWN_SIDE)
    tiles = torch.cat([heat(one[0], one.shape[-1]) for one in cover])
    picture = Image.fromarray(grid(tiles, across=math.isqrt(len(tiles))))
    return picture, (
        f"Projected keys: the {layer.keys} of {layer.name}, each as its coverage of the "
        f"{layer.resolution} px map (|E|; yellow: largest value of each key), equal for all images."
    )
