"""Behind `sfbench reconstruct`: reconstructions beside originals, and the distance of both sets."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfbench.api.errors import DataError, UsageError, WeightsError, printable
from sfbench.cli import bench as benches
from sfbench.cli import defaults
from sfbench.cli.exits import Exit
from sfbench.quality.influences import NORMAL_95
from sfbench.quality.published import LPIPS_FILE, VGG16, VGG16_FILE
from sfbench.quality.weights import find_lpips, find_weights
from sfbench.values.messages import counted
from sfbench.values.records import Reading

if TYPE_CHECKING:
    from sfbench.quality.cropping import Crop
    from sfbench.quality.explain import Step
    from sfbench.quality.reconstruction import Found, Pairs, ReconstructionCard

SHOWN = 5


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The two sets of images, the cards, and the networks."""

    originals: str
    reconstructions: str
    card: str = "sfbench"
    explained: tuple[str, str] | None = None
    resolution: int | None = None
    extractor: str | None = None
    extractor_weights: str = "auto"
    vgg: str = "auto"
    linear: str = "auto"
    device: str = "auto"
    plugins: tuple[str, ...] = ()


def show(asked: Asked, *, as_json: bool) -> Exit:
    """Print the readings, or the steps between two cards; 1 where a pair could not be compared."""
    from sfbench.quality.reconstruction import (
        between,
        by_crop,
        chosen_cards,
        measured,
        paired_by_name,
        readings,
    )

    cards = chosen_cards(",".join(asked.explained) if asked.explained else asked.card)
    if asked.explained and len(cards) != 2:  # noqa: PLR2004  # from one to the other
        msg = f"--explain {' '.join(asked.explained)}: expected two different cards"
        raise UsageError(msg)
    bench = bench_of(asked)
    if bench.world > 1:
        msg = "sfbench reconstruct runs in one process; omit torchrun"
        raise UsageError(msg)
    sides = [
        bench.real(text, flag)
        for text, flag in (
            (asked.originals, "--originals"),
            (asked.reconstructions, "--reconstructions"),
        )
    ]
    steps = list(between(*cards)) if asked.explained else []
    originals, made = (named(side.dataset) for side in sides)
    pairs = paired_by_name(originals, made)
    distance, lpips_reading = lpips_of(asked, bench.device)
    needed = [*cards, *(card for *_, card in steps)]
    try:
        kinds = by_crop(needed, originals, made, pairs)
        found = {
            crop: measured(
                images,
                made,
                pairs,
                [card for card in needed if card.crop == crop],
                None if asked.explained else distance,
                bench.progress,
            )
            for crop, images in kinds.items()
        }
        bench.progress.clear()
        problems = tell(pairs, found)
        if asked.explained:
            code = explained(found, cards[0], steps, as_json=as_json)
            return Exit.SOME_FAILED if problems and code == Exit.OK else code
        every: list[Reading] = []
        for crop, images in kinds.items():
            how = {
                "pairs": len(found[crop].kept),
                "left_out": len(found[crop].problems),
                "originals": dict(images.identity),
                "reconstructions": dict(made.identity),
            }
            for card in cards:
                if card.crop == crop:
                    every += readings(found[crop], card, how=how)
            of_crop = [dataclasses.replace(sides[0], dataset=images), sides[1]]
            both = [
                lpips(found[crop], lpips_reading, how),
                *distances(bench, of_crop, found[crop], asked, how),
            ]
            every += [named_by(reading, crop) for reading in both]
    except KeyboardInterrupt:
        bench.progress.clear()
        print("interrupted: features so far are saved; run again", file=sys.stderr)
        return Exit.INTERRUPTED
    bench.progress.clear()
    if as_json:
        document = {
            "pairs": len(pairs.originals),
            "alone": list(pairs.alone),
            "left_out": problems,
            "readings": [dataclasses.asdict(reading) for reading in every],
        }
        print(json.dumps(document, indent=1))
    else:
        from sfbench.cli.terminal import console
        from sfbench.report.readings import plain_table

        most = max(len(one.kept) for one in found.values())
        heading = f"{counted(most, 'pair')} of {asked.reconstructions} and originals"
        console().print(plain_table(every, heading))
    if problems:
        return Exit.SOME_FAILED
    return Exit.OK if any(r.value is not None for r in every) else Exit.NOTHING_MEASURED


def named(dataset: Any) -> Any:
    """Return a dataset whose images have names; raises DataError for another."""
    if not hasattr(dataset, "container"):
        msg = f"{dataset.identity['name']}: its images have no names to pair them by"
        raise DataError(msg)
    return dataset


def bench_of(asked: Asked) -> benches.Bench:
    """Return the bench on which both sets are read and judged."""
    return benches.Bench(
        benches.Asked(
            images=asked.reconstructions,
            reference=asked.originals,
            resolution=asked.resolution,
            extractor=asked.extractor,
            extractor_weights=asked.extractor_weights,
            device=asked.device,
            plugins=asked.plugins,
        )
    )


def named_by(reading: Reading, crop: str) -> Reading:
    """Return a reading whose name says how originals were cropped, if they were."""
    if crop == "none":
        return reading
    name = reading.metric.rstrip("]")
    return dataclasses.replace(
        reading, metric=f"{name}, crop {crop}]" if "[" in name else f"{name}[crop {crop}]"
    )


def tell(pairs: Pairs, found: Mapping[Crop, Found]) -> list[str]:
    """Print what has no partner and which pairs could not be compared; return these pairs."""
    alone = pairs.told()
    if alone is not None:
        print(f"warning: {alone}", file=sys.stderr)
    problems = list(dict.fromkeys(line for one in found.values() for line in one.problems))
    for problem in problems[:SHOWN]:
        print(f"warning: left out: {printable(problem)}", file=sys.stderr)
    if len(problems) > SHOWN:
        print(f"warning: {len(problems) - SHOWN} more are left out", file=sys.stderr)
    return problems


def lpips_of(asked: Asked, device: str) -> tuple[Any, Reading]:
    """Return LPIPS, or None; and a reading with its name and how it was made, or why there is none."""
    from sfbench.quality.lpips import load_lpips

    home = defaults.torch_home()
    try:
        vgg, digest = find_weights(VGG16, (VGG16_FILE,), asked.vgg, home, "--vgg-weights")
        linear, linear_digest = find_lpips(LPIPS_FILE, asked.linear, home)
    except WeightsError as error:
        if asked.vgg != "auto" or asked.linear != "auto":
            raise
        return None, Reading(metric="lpips", reason=str(error))
    standard = digest == VGG16_FILE.sha256 and linear_digest == LPIPS_FILE.sha256
    metric = "lpips[vgg]" if standard else f"lpips[{VGG16}-{digest[:8]}]"
    how = {"vgg_sha256": digest, "lpips_sha256": linear_digest}
    return load_lpips(vgg, linear, device), Reading(
        metric=metric, reason="not measured yet", how=how
    )


def lpips(found: Found, name: Reading, how: Mapping[str, Any]) -> Reading:
    """Return the mean LPIPS of the pairs."""
    import numpy as np

    from sfbench.quality.lpips import SMALLEST
    from sfbench.quality.reconstruction import mean_reading

    if "lpips" not in found.values:
        reason = name.reason if found.kept else "no pair could be compared"
        return dataclasses.replace(name, reason=reason)
    if np.isnan(found.values["lpips"]).any():
        return Reading(metric=name.metric, reason=f"images of under {SMALLEST} px")
    return mean_reading(name.metric, found.values["lpips"], {**how, **name.how})


def distances(
    bench: benches.Bench,
    sides: Sequence[Any],
    found: Found,
    asked: Asked,
    how: Mapping[str, Any],
) -> Iterator[Reading]:
    """Yield the Frechet distance of reconstructions to originals: rFID with published weights.

    Its interval pairs every reconstruction with its original.
    """
    import numpy as np

    from sfbench.quality.comparison import view_of
    from sfbench.quality.frechet import frechet_distance
    from sfbench.quality.protocols import AUTO, OWN, read_protocol
    from sfbench.quality.statistics import moments_of
    from sfbench.quality.uncertainty import frechet_influences

    extractor = bench.open_extractor(asked.extractor or AUTO)
    preprocessing = view_of(read_protocol(OWN), extractor, floating=False)
    metric = "rfid" if extractor.standard else f"rfd[{extractor.name}]"
    if len(found.kept) < 2:  # noqa: PLR2004  # a covariance needs two
        yield Reading(
            metric=metric, reason=f"{counted(len(found.kept), 'pair')}; at least 2 needed"
        )
        return
    rows = []
    for side, numbers in zip(sides, zip(*found.kept, strict=True), strict=True):
        part = dataclasses.replace(side, indices=sorted(numbers))
        features = bench.forward.extract(part, preprocessing, bench.store, logits=False)
        statistics = features.statistics
        place = {int(number): row for row, number in enumerate(statistics.indices)}
        rows.append(statistics.features[[place[number] for number in numbers]])
    real, made = rows
    first, second = moments_of(made), moments_of(real)
    value = frechet_distance(first, second)
    made_by = dict(extractor.identity) | {"resize": preprocessing.resize}
    how = {**how, "extractor": made_by}
    if len(real) <= real.shape[1]:
        how["warning"] = "fewer images than features: biased upward"
        yield Reading(metric=metric, value=value, how=how)
        return
    own, other = frechet_influences(made, first, real, second)
    joint = own if other is None else own + other
    error = math.sqrt(float(np.var(joint, ddof=1)) / len(joint))
    half = NORMAL_95 * error
    how |= {"standard_error": error, "interval": "influence of each pair"}
    yield Reading(metric=metric, value=value, low=value - half, high=value + half, how=how)


def explained(
    found: Mapping[Crop, Found], first: ReconstructionCard, steps: Sequence[Any], *, as_json: bool
) -> Exit:
    """Print how PSNR and SSIM go from one card to the other, one convention at a time."""
    from sfbench.quality.explain import Step
    from sfbench.quality.reconstruction import readings

    told: list[Step] = []
    for place, metric in enumerate(("psnr", "ssim", "ms_ssim")):
        before: float | None = None
        for name, old, new, card in [("start", "", "", first), *steps]:
            values = list(readings(found[card.crop], card, how={}))
            value = values[place].value if place < len(values) else None
            if value is None:
                continue
            change = 0.0 if before is None else value - before
            if name == "start" or change:
                told.append(
                    Step(
                        metric=metric,
                        factor=name,
                        before=old,
                        after=new,
                        value=value,
                        change=change,
                    )
                )
            before = value
    if as_json:
        print(json.dumps([dataclasses.asdict(step) for step in told], indent=1))
    else:
        from sfbench.cli.terminal import console
        from sfbench.report.explanation import steps_table

        console().print(steps_table(told))
    return Exit.OK if told else Exit.NOTHING_MEASURED


def check(asked: Asked) -> None:
    """Raise UsageError, before any work, for folders that are one and the same."""
    if Path(asked.originals).resolve() == Path(asked.reconstructions).resolve():
        msg = f"--reconstructions {asked.reconstructions}: these are the originals themselves"
        raise UsageError(msg)
