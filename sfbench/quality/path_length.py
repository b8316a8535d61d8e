"""Perceptual path length: how much images change along short steps between latents.

Karras et al., arXiv 1812.04948 (section 4.1) and 1912.04958: E[d(G(t), G(t + epsilon)) / epsilon^2],
with LPIPS for d; values outside two percentiles are left out, as every package does.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from sfbench.api.errors import UnsupportedError, UsageError
from sfbench.api.inspecting import StyleBased
from sfbench.api.latents import Latents
from sfbench.api.protocols import ImageGenerator
from sfbench.quality.lpips import SMALLEST, Lpips
from sfbench.quality.uncertainty import Estimate
from sfbench.values.pixels import from_bytes, to_bytes, to_rgb

CARDS = Path(__file__).with_name("path_cards.toml")
EPSILON = 1e-4
PERCENTILES = (1.0, 99.0)
OTHER_ENDS = 1 << 20
"""Seeds of the second ends are those of the first plus this."""
NUMPY_SEED = 2020
BOX = 256
SMALL = 64
NEARLY_PARALLEL = 1 - 1e-7

Progress = Callable[[str, int, int], None]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PathCard:
    """How a package measures it.

    `space`: of the path, z or w; `sampling`: steps at the start of a path ("end") or anywhere
    ("full"). `interpolation` in z: "slerp" of unit vectors, or "lerp"; in w it is straight. `crop`:
    the face region of FFHQ. `resize`: "box-256" averages larger images to about 256 px, "64" resizes
    all. `draws`: z of this project's seeds, or of numpy's RandomState(2020).
    """

    name: str
    summary: str
    source: str
    space: Literal["z", "w"]
    sampling: Literal["end", "full"]
    crop: bool
    resize: Literal["box-256", "64"]
    quantization: Literal["none", "round"]
    draws: Literal["seeds", "numpy"]
    labels: Literal["data", "uniform"]
    interpolation: Literal["slerp", "lerp"] = "slerp"
    epsilon: float = EPSILON
    percentiles: tuple[float, float] | None = PERCENTILES

    def shown(self) -> str:
        """Return which part of an image the network would see."""
        return "half of such a small image is cropped" if self.crop else "such a small image"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PathLength:
    """Mean over the paths that count with its standard error, their standard deviation and number."""

    estimate: Estimate
    deviation: float
    kept: int
    paths: int


def read_cards() -> dict[str, PathCard]:
    """Return all cards by name."""
    found: Mapping[str, Any] = tomllib.loads(CARDS.read_text(encoding="utf-8"))
    return {name: PathCard(name=name, **fields) for name, fields in found.items()}


def read_card(name: str) -> PathCard:
    """Return a card; raises UsageError listing the available ones."""
    cards = read_cards()
    if name not in cards:
        msg = f"--card {name}: expected {', '.join(cards)}"
        raise UsageError(msg)
    return cards[name]


def path_length(
    generator: ImageGenerator,
    card: PathCard,
    distance: Lpips,
    *,
    paths: int,
    seed: int,
    batch: int,
    progress: Progress,
) -> PathLength:
    """Return the perceptual path length of a generator by a card.

    Raises UnsupportedError for a generator without the latents or the styles that the card needs.
    """
    found = []
    done = 0
    for path in paths_of(generator, card, paths, seed, batch):
        with torch.inference_mode():
            images = [seen(image, card) for image in images_at(generator, card, path)]
            if min(images[0].shape[2:]) < SMALLEST:
                msg = f"{card.name}: {card.shown()}; LPIPS needs {SMALLEST} px or more"
                raise UnsupportedError(msg)
            found.append(distance(*images).double().cpu() / card.epsilon**2)
        done += len(found[-1])
        progress("paths", done, paths)
    return summarized(torch.cat(found).numpy(), card.percentiles)


def summarized(
    values: np.ndarray, percentiles: tuple[float, float] | None = PERCENTILES
) -> PathLength:
    """Return mean and spread of the values between two percentiles, which are values themselves."""
    kept = values
    if percentiles is not None:
        low = np.percentile(values, percentiles[0], method="lower")
        high = np.percentile(values, percentiles[1], method="higher")
        kept = values[(values >= low) & (values <= high)]
    error = float(kept.std(ddof=1)) / len(kept) ** 0.5 if len(kept) > 1 else None
    return PathLength(
        estimate=Estimate(float(kept.mean()), error),
        deviation=float(kept.std()),
        kept=len(kept),
        paths=len(values),
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Paths:
    """Latents of both ends of a batch of paths, and where on each the step begins [batch].

    Labels and noise are those of the first end.
    """

    first: Latents
    second: Latents
    place: Tensor


def paths_of(
    generator: ImageGenerator, card: PathCard, paths: int, seed: int, batch: int
) -> Iterator[Paths]:
    """Yield batches of paths; those of a seed do not depend on the batch size."""
    numpy_draws: list[np.ndarray] = []
    for start in range(0, paths, batch):
        seeds = range(seed + start, seed + min(start + batch, paths))
        both = [generator.draw_latents([one + shift for one in seeds]) for shift in (0, OTHER_ENDS)]
        if not all(isinstance(one, Latents) and one.z.is_floating_point() for one in both):
            msg = "a path needs latents z of floating-point numbers (sfbench.api.Latents)"
            raise UnsupportedError(msg)
        first, second = both
        if card.draws == "numpy":
            if not numpy_draws:
                source = np.random.RandomState(NUMPY_SEED)
                shape = (paths, *first.z.shape[1:])
                numpy_draws = [source.randn(*shape).astype(np.float32) for _ in range(2)]
            rows = slice(start, start + len(first.z))
            first, second = (
                dataclasses.replace(one, z=torch.from_numpy(drawn[rows]).to(one.z))
                for one, drawn in zip((first, second), numpy_draws, strict=True)
            )
        yield Paths(first, second, torch.tensor([begin_of(one, card) for one in seeds]))


def begin_of(seed: int, card: PathCard) -> float:
    """Return where on the path of a seed the step begins."""
    if card.sampling == "end":
        return 0.0
    source = torch.Generator().manual_seed(seed + 2 * OTHER_ENDS)
    return float(torch.rand((), generator=source))


def images_at(generator: ImageGenerator, card: PathCard, path: Paths) -> tuple[Tensor, Tensor]:
    """Return the images of both sides of a step on each path."""
    first, second = path.first, path.second
    places = [one.to(first.z) for one in (path.place, path.place + card.epsilon)]
    if card.space == "w":
        if not isinstance(generator, StyleBased):
            msg = f"{card.name}: its paths are in W; this generator has no styles (StyleBased)"
            raise UnsupportedError(msg)
        ends = generator.styles(first), generator.styles(second)
        styles = [torch.lerp(*ends, place[:, None, None].to(ends[0])) for place in places]
        return (
            generator.synthesize_styles(styles[0], first),
            generator.synthesize_styles(styles[1], first),
        )
    between = slerp if card.interpolation == "slerp" else straight
    zs = [between(first.z, second.z, place) for place in places]
    return (
        generator.synthesize(dataclasses.replace(first, z=zs[0])),
        generator.synthesize(dataclasses.replace(first, z=zs[1])),
    )


def straight(first: Tensor, second: Tensor, place: Tensor) -> Tensor:
    """Return what is between two latents on a line."""
    return first + (second - first) * place.view(-1, *[1] * (first.ndim - 1))


def slerp(first: Tensor, second: Tensor, place: Tensor) -> Tensor:
    """Return what is between two latents on the unit sphere (NVIDIA's ends and results are unit)."""
    a, b = (F.normalize(one.flatten(1), dim=1) for one in (first, second))
    cosine = (a * b).sum(dim=1, keepdim=True).clamp(-NEARLY_PARALLEL, NEARLY_PARALLEL)
    angle = place[:, None] * torch.acos(cosine)
    across = F.normalize(b - cosine * a, dim=1)
    found = F.normalize(a * torch.cos(angle) + across * torch.sin(angle), dim=1)
    return found.view_as(first)


def seen(
    images: Float[Tensor, "batch channels height width"], card: PathCard
) -> Float[Tensor, "batch 3 rows columns"]:
    """Return images in [-1, 1] as a card shows them to the network."""
    x = to_rgb(images.float())
    if card.quantization == "round":
        x = from_bytes(to_bytes(x))
    side = x.shape[2]
    if card.crop:
        part = side // 8
        x = x[:, :, 3 * part : 7 * part, 2 * part : 6 * part]
    if card.resize == "box-256":
        factor = side // BOX
        return F.avg_pool2d(x, factor) if factor > 1 else x
    larger = min(x.shape[2:]) > SMALL
    mode = {"mode": "area"} if larger else {"mode": "bilinear", "align_corners": False}
    return F.interpolate(x, (SMALL, SMALL), **mode)
