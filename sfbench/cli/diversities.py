"""Behind `sfbench diversity`: how different images of one class look, beside real ones."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import Any

from sfbench.api.errors import UsageError
from sfbench.cli import defaults
from sfbench.cli.bench import Asked, Bench
from sfbench.cli.drawn_sides import faults_of
from sfbench.cli.exits import Exit
from sfbench.quality.published import LPIPS_FILE, VGG16, VGG16_FILE
from sfbench.quality.weights import find_lpips, find_weights
from sfbench.values.messages import counted
from sfbench.values.records import Reading

METRIC = "lpips_diversity"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Networks:
    """The files of VGG16 and of the linear layers of LPIPS, as flags name them."""

    vgg: str = "auto"
    linear: str = "auto"


def show(asked: Asked, pairs: int, networks: Networks, *, as_json: bool) -> Exit:
    """Print the diversity of the images, and of the reference where there is one; 5 without pairs."""
    if pairs < 1:
        msg = f"--pairs {pairs}: expected 1 or more"
        raise UsageError(msg)
    home = defaults.torch_home()
    vgg, vgg_digest = find_weights(VGG16, (VGG16_FILE,), networks.vgg, home, "--vgg-weights")
    linear, linear_digest = find_lpips(LPIPS_FILE, networks.linear, home)
    if asked.model is not None:
        asked = dataclasses.replace(asked, samples=asked.samples or 2 * pairs)
    bench = Bench(asked)
    sets = {"": bench.generated()}
    if asked.reference is not None:
        sets["reference"] = bench.real(asked.reference, "--reference")
    from sfbench.quality.lpips import load_lpips  # torch comes with it

    distance = load_lpips(vgg, linear, bench.device)
    standard = vgg_digest == VGG16_FILE.sha256 and linear_digest == LPIPS_FILE.sha256
    weights = "" if standard else f"{VGG16}-{vgg_digest[:8]}"
    how = {"vgg_sha256": vgg_digest, "lpips_sha256": linear_digest, "seed": asked.seed}
    try:
        with faults_of(str(asked.model or asked.images), bench.progress):
            readings = [
                reading_of(bench, images, pairs, distance, named(weights, which), how)
                for which, images in sets.items()
            ]
    except KeyboardInterrupt:
        bench.progress.clear()
        print("interrupted: nothing was measured", file=sys.stderr)
        return Exit.INTERRUPTED
    if as_json:
        print(json.dumps([dataclasses.asdict(reading) for reading in readings], indent=1))
    else:
        from sfbench.cli.terminal import console
        from sfbench.report.readings import plain_table

        console().print(plain_table(readings, f"{asked.model or asked.images}"))
    some = any(reading.value is not None for reading in readings)
    return Exit.OK if some else Exit.NOTHING_MEASURED


def named(*details: str) -> str:
    """Return the name of the metric with these details."""
    inside = ", ".join(filter(None, details))
    return f"{METRIC}[{inside}]" if inside else METRIC


def reading_of(
    bench: Bench, images: Any, pairs: int, distance: Any, metric: str, how: dict[str, Any]
) -> Reading:
    """Return the diversity of a set of images."""
    from sfbench.quality.diversity import classes_of_set, diversity, pairs_within

    classes = classes_of_set(images)
    chosen = pairs_within(classes, pairs, bench.asked.seed)
    if not chosen:
        return Reading(
            metric=metric, reason=f"{counted(len(classes), 'image')}: no two are of one class"
        )
    found = diversity(images, chosen, distance, bench.progress)
    low, high = found.estimate.bounds()
    labels = {classes[first] for first, _ in chosen}
    told = how | {
        "images": dict(images.identity),
        "pairs": found.pairs,
        "classes": len(labels),
        "standard_error": found.estimate.error,
    }
    return Reading(metric=metric, value=found.estimate.value, low=low, high=high, how=told)
