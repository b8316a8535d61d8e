"""Behind `sfbench panel`: sets of images in every feature space at hand, normalized and ranked."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sfbench.api.errors import UsageError, WeightsError
from sfbench.cli import defaults
from sfbench.cli.bench import Asked, Bench
from sfbench.cli.exits import Exit
from sfbench.cli.judging import name_unreadable
from sfbench.cli.sides import side_request
from sfbench.data import sources
from sfbench.quality.extractors import choose
from sfbench.quality.influences import Influences
from sfbench.quality.panel import Flip, Measured, Space, flips, mean_ratio, space_of
from sfbench.quality.protocols import OWN, More, read_protocol
from sfbench.quality.published import SPECTRUM
from sfbench.values.case import Request
from sfbench.values.messages import counted
from sfbench.values.records import Reading

if TYPE_CHECKING:
    from sfbench.quality.image_sets import ImageSet

HELD_OUT = "held-out real images"
FEWEST = 2


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """What was found: a space each, the flips of ranks, and differences of spectral slopes.

    `images`: of each set and of the held-out ones; `real`: of the reference.
    """

    names: tuple[str, ...]
    images: int
    real: int
    spaces: tuple[Space, ...]
    flips: tuple[Flip, ...]
    slopes: dict[str, float | None]


def panel(
    asked: Asked, sets: Sequence[str], held_out: str | None, extractors: str, *, as_json: bool
) -> Exit:
    """Print the panel; 5 if no space has a distance."""
    if len(set(sets)) != len(sets) or HELD_OUT in sets:
        msg = f"{' '.join(sets)}: expected different sets of images"
        raise UsageError(msg)
    bench = Bench(asked)
    names = spaces_of(bench, extractors)
    try:
        found = carried_out(bench, sets, held_out, names)
    except KeyboardInterrupt:
        bench.progress.clear()
        print("interrupted: finished parts are saved; run again to continue", file=sys.stderr)
        return Exit.INTERRUPTED
    bench.progress.clear()
    if as_json:
        print(json.dumps(document(found), indent=1))
    else:
        from sfbench.cli.terminal import console
        from sfbench.report.panel import table

        console().print(table(found))
    some = any(space.standings for space in found.spaces)
    return Exit.OK if some else Exit.NOTHING_MEASURED


def spaces_of(bench: Bench, text: str) -> list[str]:
    """Return the extractors that were named, or all whose weights are here; the slope comes last."""
    if text == "auto" and bench.asked.extractor_weights not in {"auto", "download"}:
        msg = f"--extractor-weights {bench.asked.extractor_weights}: name its --extractor"
        raise UsageError(msg)
    if text != "auto":
        named = list(dict.fromkeys(text.split(",")))
        for name in named:
            bench.source_of(name)
        return named
    found = []
    for offer in bench.offers:
        if offer.variants is None:
            with contextlib.suppress(WeightsError):
                choose(offer.name, "auto", defaults.torch_home(), bench.offers)
                found.append(offer.name)
    return found


def carried_out(
    bench: Bench, sets: Sequence[str], held_out: str | None, names: Sequence[str]
) -> Panel:
    """Return what every set is in every space."""
    images: dict[str, ImageSet] = {text: image_set(bench, text) for text in sets}
    reference, kept = real_images(bench, held_out)
    for text, one in images.items():
        if getattr(one, "dataset", None) is not None and of_one_set(one, reference):
            print(f"warning: {text} holds images of the reference itself", file=sys.stderr)
    count = min(len(one.indices) for one in (*images.values(), kept))
    if count < FEWEST:
        msg = f"{counted(count, 'image')} of a set; at least {FEWEST} of each are needed"
        raise UsageError(msg)
    images[HELD_OUT] = kept
    images = {name: first(one, count) for name, one in images.items()}
    spaces, measured = [], []
    slopes: dict[str, float | None] = {}
    for name in names:
        found = {text: in_space(bench, images[text], reference, name) for text in (*images,)}
        readings = {text: one for text, (one, _) in found.items()}
        if name == SPECTRUM:
            slopes = {text: one.value for text, one in readings.items()}
            spaces += [
                Space(extractor=name, metric=one.metric, reason=f"{text}: {one.reason}")
                for text, one in readings.items()
                if one.value is None
            ]
            continue
        metric = readings[HELD_OUT].metric
        reason = next(
            (f"{text}: {one.reason}" for text, one in readings.items() if one.value is None), None
        )
        if reason is not None:
            spaces.append(Space(extractor=name, metric=metric, reason=reason))
            continue
        here = {
            text: Measured(value=float(one.value or 0.0), influences=kept_of)
            for text, (one, kept_of) in found.items()
        }
        measured.append((name, here))
        spaces.append(space_of(name, metric, [(t, here[t]) for t in sets], here[HELD_OUT]))
    return Panel(
        names=tuple(sets),
        images=count,
        real=len(reference.indices),
        spaces=tuple(spaces),
        flips=tuple(flips(sets, measured)),
        slopes=slopes,
    )


def image_set(bench: Bench, text: str) -> ImageSet:
    """Return the images of a file or folder, or of a model, MODEL[,key=value]..."""
    asked = bench.asked
    with contextlib.suppress(UsageError):
        sources.check_there(text, "IMAGES")
        return of(bench, dataclasses.replace(asked, images=text, model=None))
    blank = Request(model="", res=str(asked.resolution or 32), batch=str(asked.batch))
    request, interpreter = side_request(text, blank)
    if interpreter is not None:
        msg = f"{text}: images are drawn by this installation; omit python="
        raise UsageError(msg)
    if request != dataclasses.replace(
        blank,
        model=request.model,
        option=request.option,
        weights=request.weights,
        batch=request.batch,
    ):
        msg = (
            f"{text}: expected MODEL with weights=, batch= or options; --res and --seed are for all"
        )
        raise UsageError(msg)
    drawn = dataclasses.replace(
        asked,
        images=None,
        model=request.model,
        option=request.option,
        weights=request.weights,
        batch=int(request.batch),
    )
    return of(bench, drawn)


def of(bench: Bench, asked: Asked) -> ImageSet:
    """Return the images of a request."""
    side = Bench(asked)
    side.progress = bench.progress
    found: ImageSet = side.generated()
    return found


def of_one_set(a: Any, b: Any) -> bool:
    """Return whether two sets are of the same files."""
    return bool(a.dataset.identity == b.dataset.identity)


def real_images(bench: Bench, held_out: str | None) -> tuple[ImageSet, ImageSet]:
    """Return the reference, and the held-out images; without any, a random half of the reference."""
    from sfbench.quality.image_sets import chosen  # torch comes with it

    if held_out is not None:
        whole = bench.real(str(bench.asked.reference), "--reference")
        return whole, dataclasses.replace(bench.real(held_out, "--held-out"), what=HELD_OUT)
    # Of each half as many images as were asked for.
    samples = bench.asked.samples
    wanted = dataclasses.replace(bench.asked, samples=None if samples is None else 2 * samples)
    whole = Bench(wanted).real(str(bench.asked.reference), "--reference")
    if len(whole.indices) < 2 * FEWEST:
        msg = (
            f"--reference {bench.asked.reference}: {counted(len(whole.indices), 'image')}; a half is "
            f"held out, so {2 * FEWEST} or more are needed, or --held-out"
        )
        raise UsageError(msg)
    places = chosen(len(whole.indices), len(whole.indices) // 2, bench.asked.seed + 1)
    mine = {whole.indices[place] for place in places}
    rest = [index for index in whole.indices if index not in mine]
    return (
        dataclasses.replace(whole, indices=rest),
        dataclasses.replace(whole, indices=sorted(mine), what=HELD_OUT),
    )


def first(images: Any, count: int) -> Any:
    """Return the first images of a set."""
    identity = dict(images.identity)
    if "first_seed" in identity:
        identity["images"] = count
        return dataclasses.replace(images, indices=images.indices[:count], identity=identity)
    return dataclasses.replace(images, indices=images.indices[:count])


def in_space(
    bench: Bench, images: ImageSet, reference: ImageSet, extractor: str
) -> tuple[Reading, Influences | None]:
    """Return the distance of a set to the reference in one space, and what each image does to it."""
    from sfbench.quality.comparison import Comparison  # torch comes with it

    kept: list[Influences] = []

    def keep(found: Influences) -> str:
        kept.append(found)
        return "kept"

    own = dataclasses.replace(
        read_protocol(OWN), kernel=None, score=None, neighbors=None, more=More()
    )
    comparison = Comparison(
        generated=images,
        reference=reference,
        protocols=[own],
        open_extractor=bench.open_extractor,
        forward=bench.forward,
        stores=(bench.store, bench.store),
        extractor=extractor,
        keep=keep,
    )
    reading = next(iter(comparison.readings()))
    name_unreadable(comparison)
    return reading, kept[0] if kept else None


def document(found: Panel) -> dict[str, Any]:
    """Return the panel as JSON."""
    return {
        "images": found.images,
        "reference_images": found.real,
        "spaces": [dataclasses.asdict(space) for space in found.spaces],
        "mean_ratio": {name: mean_ratio(found.spaces, name) for name in found.names},
        "flips": [dataclasses.asdict(flip) for flip in found.flips],
        "spectral_slope": found.slopes,
    }
