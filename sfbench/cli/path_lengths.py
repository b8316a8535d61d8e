"""Behind `sfbench path-length`: the perceptual path length of one model, by one card or several."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator
from typing import Any

from sfbench.api.errors import UsageError
from sfbench.api.labels import parse_labels
from sfbench.catalogue.registry import find_generator
from sfbench.cli import defaults
from sfbench.cli.drawn_sides import faults_of
from sfbench.cli.exits import Exit
from sfbench.cli.one_case import one_case
from sfbench.cli.progress import PassProgress
from sfbench.data.sources import open_dataset
from sfbench.generators.loading import load_plugins
from sfbench.hardware.devices import find_backend
from sfbench.hardware.policy import kept_settings, set_policy
from sfbench.quality.published import LPIPS_FILE, VGG16, VGG16_FILE
from sfbench.quality.weights import find_lpips, find_weights
from sfbench.values.case import Case, Request
from sfbench.values.messages import counted
from sfbench.values.records import Reading

FEWEST = 2
SUBJECT = ("model", "resolution", "options", "weights", "device", "dtype")
"""Of a case: whose paths they are."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Which cards, how many paths, the files of the networks, and plugins."""

    cards: tuple[str, ...]
    paths: int
    vgg: str = "auto"
    linear: str = "auto"
    plugins: tuple[str, ...] = ()
    disabled: tuple[str, ...] = ()


def show(request: Request, asked: Asked, *, as_json: bool) -> Exit:
    """Print a reading for each card; 5 when none has a value."""
    if asked.paths < FEWEST:
        msg = f"--paths {asked.paths}: expected {FEWEST} or more"
        raise UsageError(msg)
    catalogue = defaults.catalogue(asked.plugins, asked.disabled)
    catalogue.model(request.model).check_usable(trusted=request.trust)
    home = defaults.torch_home()
    vgg = find_weights(VGG16, (VGG16_FILE,), asked.vgg, home, "--vgg-weights")
    linear = find_lpips(LPIPS_FILE, asked.linear, home)
    case = one_case(dataclasses.replace(request, measure="quality"), catalogue, "path-length")
    if case.batch_rule != "fixed":
        msg = f"--batch {request.batch}: expected a number"
        raise UsageError(msg)
    plugins, _ = load_plugins(catalogue.owners(case.model), asked.plugins, asked.disabled)
    _, spec = find_generator(plugins, case.model)
    from sfbench.quality.path_length import read_card  # torch comes with it

    cards = [read_card(name) for name in asked.cards]
    readings: list[Reading] = []
    ended = Exit.OK
    try:
        for reading in measured(spec, case, cards, asked.paths, (vgg, linear)):
            readings.append(reading)  # noqa: PERF402  # those so far are shown
    except KeyboardInterrupt:
        told = counted(len(readings), "card")
        print(f"interrupted after {told}; nothing else is kept", file=sys.stderr)
        ended = Exit.INTERRUPTED
    if as_json:
        print(json.dumps([dataclasses.asdict(reading) for reading in readings], indent=1))
    else:
        from sfbench.cli.terminal import console
        from sfbench.report.readings import plain_table

        heading = f"{case.title()}: {asked.paths:,} paths"
        console().print(plain_table(readings, heading))
    some = any(reading.value is not None for reading in readings)
    return ended if some or ended else Exit.NOTHING_MEASURED


def measured(spec: Any, case: Case, cards: list[Any], paths: int, files: Any) -> Iterator[Reading]:
    """Yield a reading for each card."""
    import torch

    from sfbench.api.errors import UnsupportedError
    from sfbench.generators.building import build
    from sfbench.quality.class_labels import follow_labels
    from sfbench.quality.lpips import load_lpips
    from sfbench.quality.path_length import path_length

    (vgg, vgg_digest), (linear, linear_digest) = files
    bar = PassProgress(sys.stderr, live=sys.stderr.isatty(), quiet=False)
    backend = find_backend(case.device)
    with kept_settings(), torch.inference_mode(), faults_of(case.model, bar):
        set_policy(backend, case.dtype, case.threads)
        generator = build(spec, case, case.device)
        labels = follow_labels(
            generator, parse_labels(case.labels), open_dataset(case.data, case.size)
        )
        distance = load_lpips(vgg, linear, case.device)
        standard = vgg_digest == VGG16_FILE.sha256 and linear_digest == LPIPS_FILE.sha256
        for card in cards:
            # A conditional model's labels are part of what a card measures.
            own = getattr(generator, "classes", 0) and case.labels != card.labels
            words = [] if standard else [f"{VGG16}-{vgg_digest[:8]}"]
            bracket = ", ".join([*words, card.name, *([f"labels {case.labels}"] if own else [])])
            metric = f"{'ppl' if standard else 'path_length'}[{bracket}]"
            try:
                one = path_length(
                    generator,
                    card,
                    distance,
                    paths=paths,
                    seed=case.seed,
                    batch=case.batch,
                    progress=bar,
                )
            except UnsupportedError as error:
                yield Reading(metric=metric, reason=str(error))
                continue
            low, high = one.estimate.bounds()
            how = {
                "model": {name: value for name, value in case.inputs().items() if name in SUBJECT},
                "card": card.name,
                "source": card.source,
                "epsilon": card.epsilon,
                "paths": one.paths,
                "kept": one.kept,
                "percentiles": card.percentiles,
                "deviation": one.deviation,
                "standard_error": one.estimate.error,
                "labels": labels,
                "vgg_sha256": vgg_digest,
                "lpips_sha256": linear_digest,
                "first_seed": case.seed,
            }
            yield Reading(metric=metric, value=one.estimate.value, low=low, high=high, how=how)
