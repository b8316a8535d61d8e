"""Reconstructions beside their originals, pair by pair: every card from one pass over the images."""

from __future__ import annotations

import dataclasses
import math
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from sfbench.api.errors import DataError, UsageError
from sfbench.data.containers.files import ImageFiles
from sfbench.data.dataset import ContainerDataset
from sfbench.quality.cropping import Crop, CroppedImages
from sfbench.quality.fidelity import (
    SsimWay,
    multi_scale_ssim,
    pooled_psnr,
    psnr,
    squared_error,
    ssim,
)
from sfbench.quality.influences import NORMAL_95
from sfbench.quality.lpips import SMALLEST, Lpips
from sfbench.values.messages import counted
from sfbench.values.records import Reading

CARDS = Path(__file__).with_name("reconstruction_cards.toml")
LEVELS = 255.0
FEW = 2
SUFFIXES = {
    ".png",
    ".jpg",
    ".jpeg",
    ".webp",
    ".bmp",
    ".dib",
    ".tif",
    ".tiff",
    ".gif",
    ".ppm",
    ".pgm",
}
ROWS = {".npy", ".npz", ".parquet"}
Progress = Callable[[str, int, int], None]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ReconstructionCard:
    """How a package measures it.

    `crop`: how originals of another size become that of the reconstructions. `psnr`: the mean over
    images, or that of the error over all of them ("pooled"). `floor` is added to an image's squared
    error. `multi_scale`: whether it has MS-SSIM.
    """

    name: str
    summary: str
    source: str
    crop: Crop = "none"
    psnr: Literal["images", "pooled"] = "images"
    floor: float = 0.0
    ssim: SsimWay = dataclasses.field(default_factory=SsimWay)
    multi_scale: bool = True


def read_cards() -> dict[str, ReconstructionCard]:
    """Return all cards by name."""
    found: Mapping[str, Any] = tomllib.loads(CARDS.read_text(encoding="utf-8"))
    return {
        name: ReconstructionCard(name=name, **{**fields, "ssim": SsimWay(**fields.get("ssim", {}))})
        for name, fields in found.items()
    }


def chosen_cards(text: str, flag: str = "--card") -> list[ReconstructionCard]:
    """Return the cards that "all" or names with commas stand for; raises UsageError for others."""
    cards = read_cards()
    names = list(cards) if text == "all" else list(dict.fromkeys(text.split(",")))
    for name in names:
        if name not in cards:
            msg = f"{flag} {name}: expected all, or any of {', '.join(cards)}"
            raise UsageError(msg)
    return [cards[name] for name in names]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Numbers of originals and of reconstructions that belong together, and what has no partner."""

    originals: tuple[int, ...]
    reconstructions: tuple[int, ...]
    alone: tuple[int, int]

    def told(self) -> str | None:
        """Return what has no partner, or None."""
        if not any(self.alone):
            return None
        return (
            f"{counted(self.alone[0], 'original')} without reconstruction, "
            f"{counted(self.alone[1], 'reconstruction')} without original are left out"
        )


def paired_by_name(originals: ContainerDataset, reconstructions: ContainerDataset) -> Pairs:
    """Return the pairs of equal names, without folders that all share and without suffixes.

    Raises DataError for names that occur twice, and where no two names are equal.
    """
    sides = [names_of(one) for one in (originals, reconstructions)]
    both = [name for name in sides[0] if name in sides[1]]
    if not both:
        first = [next(iter(side), "") for side in sides]
        msg = (
            f"no two images have the same name: {first[0]} among the originals, {first[1]} among the "
            "reconstructions"
        )
        raise DataError(msg)
    return Pairs(
        originals=tuple(sides[0][name] for name in both),
        reconstructions=tuple(sides[1][name] for name in both),
        alone=(len(sides[0]) - len(both), len(sides[1]) - len(both)),
    )


def names_of(dataset: ContainerDataset) -> dict[str, int]:
    """Return the number of each image by its name, without the folders that all share and suffix.

    Images of arrays and of Parquet files have no names of their own: they are paired by number.
    """
    container = dataset.container
    if isinstance(container, ImageFiles):
        stored = list(container.images.names)
    elif container.path.suffix.lower() in ROWS:
        stored = [str(number) for number in range(len(dataset))]
    else:
        stored = [container.item(number).name for number in range(len(dataset))]
    parts = [PurePosixPath(name).parts for name in stored]
    shared = 0
    while parts and all(len(one) > shared + 1 and one[shared] == parts[0][shared] for one in parts):
        shared += 1
    found: dict[str, int] = {}
    for number, one in enumerate(parts):
        name = PurePosixPath(*one[shared:])
        known = name.suffix.lower() in SUFFIXES
        text = str(name.with_suffix("") if known else name)
        if text in found:
            msg = f"{container.path}: two images are called {text}; names pair them"
            raise DataError(msg)
        found[text] = number
    return found


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What one pass over the pairs found: values by what was computed, the pairs that have them.

    `problems`: pairs that are unreadable or of unequal size, one line each.
    """

    values: Mapping[str, np.ndarray]
    kept: tuple[tuple[int, int], ...]
    problems: tuple[str, ...]


def measured(
    originals: ContainerDataset | CroppedImages,
    reconstructions: ContainerDataset,
    pairs: Pairs,
    cards: Sequence[ReconstructionCard],
    distance: Lpips | None,
    progress: Progress,
) -> Found:
    """Return every value that the cards need, by pair; a pair that cannot be compared is left out."""
    rows: dict[str, list[float]] = {}
    problems, kept = [], []
    total = len(pairs.originals)
    for place, (own, other) in enumerate(zip(pairs.originals, pairs.reconstructions, strict=True)):
        try:
            x, y = pixels_of(originals, own), pixels_of(reconstructions, other)
            check_sizes(x, y, reconstructions, other)
        except DataError as error:
            problems.append(str(error))
            continue
        for name, value in values_of(x, y, cards, distance):
            rows.setdefault(name, []).append(value)
        kept.append((own, other))
        progress("pairs", place + 1, total)
    return Found(
        values={name: np.asarray(values) for name, values in rows.items()},
        kept=tuple(kept),
        problems=tuple(problems),
    )


def by_crop(
    cards: Sequence[ReconstructionCard],
    originals: ContainerDataset,
    reconstructions: ContainerDataset,
    pairs: Pairs,
) -> dict[Crop, ContainerDataset | CroppedImages]:
    """Return the originals as the cards crop them, to the size of the first reconstruction.

    Raises DataError where that cannot be read or is not square, if a card crops.
    """
    found: dict[Crop, ContainerDataset | CroppedImages] = {}
    for crop in dict.fromkeys(card.crop for card in cards):
        if crop == "none":
            found[crop] = originals
            continue
        height, width = reconstructions.read(pairs.reconstructions[0]).pixels.shape[1:]
        if height != width:
            msg = f"crop {crop}: reconstructions have {width}x{height} px; expected square ones"
            raise DataError(msg)
        found[crop] = CroppedImages(originals, crop, int(height))
    return found


def check_sizes(x: Tensor, y: Tensor, dataset: ContainerDataset, number: int) -> None:
    """Raise DataError for a reconstruction of another size than its original."""
    if x.shape != y.shape:
        sizes = [f"{one.shape[3]}x{one.shape[2]}" for one in (x, y)]
        name = dataset.container.item(number).name
        msg = f"{name}: {sizes[1]} px, its original has {sizes[0]}; give --res, or a --card that crops"
        raise DataError(msg)


def pixels_of(dataset: ContainerDataset | CroppedImages, number: int) -> Tensor:
    """Return an image as [1, 3, height, width] in [0, 1], float64."""
    return dataset.read(number).pixels.double()[None] / LEVELS


def values_of(
    x: Tensor, y: Tensor, cards: Sequence[ReconstructionCard], distance: Lpips | None
) -> Iterator[tuple[str, float]]:
    """Yield each value of a pair once, by the key of its way."""
    yield "error", float(squared_error(x, y))
    for floor in {card.floor for card in cards}:
        yield f"psnr {floor}", float(psnr(x, y, floor=floor))
    for way in {card.ssim for card in cards}:
        yield f"ssim {way}", within(ssim, x, y, way)
    for way in {card.ssim for card in cards if card.multi_scale}:
        yield f"ms {way}", within(multi_scale_ssim, x, y, way)
    if distance is not None:
        enough = min(x.shape[2:]) >= SMALLEST
        device = distance.linear[0].device
        with torch.inference_mode():
            sides = (2 * one.float().to(device) - 1 for one in (x, y))
            yield "lpips", float(distance(*sides)) if enough else math.nan


def within(
    of: Callable[[Tensor, Tensor, SsimWay], Tensor], x: Tensor, y: Tensor, way: SsimWay
) -> float:
    """Return a similarity; NaN for images that are smaller than its window."""
    try:
        return float(of(x, y, way))
    except ValueError:
        return math.nan


def readings(
    found: Found, card: ReconstructionCard, *, how: Mapping[str, Any]
) -> Iterator[Reading]:
    """Yield the readings of a card: PSNR, SSIM, MS-SSIM."""
    bracket = "" if card.name == "sfbench" else f"[{card.name}]"
    if not found.kept:
        reason = f"no pair could be compared: {(found.problems or ('',))[0]}"
        names = (f"{name}{bracket}" for name in ("psnr", "ssim"))
        yield from (Reading(metric=name, reason=reason) for name in names)
        return
    told = dict(how) | {"card": card.name, "source": card.source}
    yield psnr_reading(found, card, f"psnr{bracket}", told)
    ways = {"ssim": f"ssim {card.ssim}"}
    if card.multi_scale:
        ways["ms_ssim"] = f"ms {card.ssim}"
    for name, key in ways.items():
        values = found.values[key]
        small = int(np.isnan(values).sum())
        if small:
            reason = f"{counted(small, 'pair')} smaller than the window of the last scale"
            yield Reading(metric=f"{name}{bracket}", reason=reason)
        else:
            yield mean_reading(f"{name}{bracket}", values, told)


def psnr_reading(
    found: Found, card: ReconstructionCard, metric: str, how: Mapping[str, Any]
) -> Reading:
    """Return the PSNR by a card; null where images are equal and nothing is added to their error."""
    if card.psnr == "pooled":
        errors = found.values["error"] + card.floor
        value = pooled_psnr(torch.from_numpy(errors))
        if math.isinf(value):
            return Reading(metric=metric, reason="all pairs are equal: it is infinite")
        half = 0.0
        if len(errors) >= FEW:
            relative = float(errors.std(ddof=1)) / math.sqrt(len(errors)) / float(errors.mean())
            half = NORMAL_95 * 10 / math.log(10) * relative
        return Reading(metric=metric, value=value, low=value - half, high=value + half, how=how)
    values = found.values[f"psnr {card.floor}"]
    equal = int(np.isinf(values).sum())
    if equal:
        reason = f"{counted(equal, 'pair')} of {len(values)} equal: their PSNR is infinite"
        return Reading(metric=metric, reason=reason)
    return mean_reading(metric, values, how)


def mean_reading(metric: str, values: np.ndarray, how: Mapping[str, Any]) -> Reading:
    """Return the mean over pairs with its interval."""
    value = float(values.mean())
    if len(values) < FEW:
        return Reading(metric=metric, value=value, how=how)
    half = NORMAL_95 * float(values.std(ddof=1)) / math.sqrt(len(values))
    return Reading(metric=metric, value=value, low=value - half, high=value + half, how=how)


def between(
    first: ReconstructionCard, second: ReconstructionCard
) -> Iterator[tuple[str, str, str, ReconstructionCard]]:
    """Yield what differs between two cards, one convention at a time: name, before, after, the card."""
    state = first
    for name in ("crop", "psnr", "floor"):
        before, after = getattr(state, name), getattr(second, name)
        if before != after:
            state = dataclasses.replace(state, **{name: after})
            yield name, str(before), str(after), state
    for field in dataclasses.fields(SsimWay):
        before, after = getattr(state.ssim, field.name), getattr(second.ssim, field.name)
        if before != after:
            way = dataclasses.replace(state.ssim, **{field.name: after})
            state = dataclasses.replace(state, ssim=way)
            yield field.name, str(before), str(after), state
