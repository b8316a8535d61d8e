"""Behind `sfbench lottery`: train a model several times, judge each run several times, and compare."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sfbench.api.errors import UsageError
from sfbench.catalogue.catalogue import Catalogue
from sfbench.cli import defaults, measuring, train_first
from sfbench.cli.exits import Exit
from sfbench.cli.measuring import Settings
from sfbench.data.sources import locate
from sfbench.run.trained import weights_of_run
from sfbench.store.album import plain
from sfbench.store.claims import Claims
from sfbench.store.lotteries import Lottery, keep_lottery
from sfbench.store.runs import Store
from sfbench.store.training_runs import read_lines
from sfbench.values.case import Request, flag_text
from sfbench.values.metrics import is_distance
from sfbench.values.paths import model_names
from sfbench.values.records import Record, digest

FEWEST = 2
SAMPLES = 2048
"""Images of an evaluation, where the user does not say."""
MOST_EVALUATIONS = 1000
FIRST_SEED = 1_000_000
"""Seed of the first image that is judged: latents of training have others."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What to train and how often; `preset`: of training, for each model."""

    request: Request
    preset: str
    kimg: float
    train_seeds: int
    sample_seeds: int
    samples: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One training run: its model, its seed, and its weights."""

    model: str
    preset: Mapping[str, Any]
    seed: int
    weights: Path


def show(asked: Asked, settings: Settings) -> Exit:
    """Train, judge, print and keep the spread of each model."""
    check(asked)
    catalogue = defaults.catalogue(settings.plugins, settings.disabled)
    names = model_names(asked.request.model)
    presets = {name: preset_of(catalogue, name, asked.preset) for name in names}
    try:
        runs = [
            trained(name, presets[name], seed, asked, catalogue, settings)
            for name in names
            for seed in range(asked.train_seeds)
        ]
        records = judged(runs, asked, settings)
    except KeyboardInterrupt:
        print(f"interrupted: runs and records so far are in {settings.store}", file=sys.stderr)
        return Exit.INTERRUPTED
    if records is None:
        return Exit.INTERRUPTED
    from sfbench.report import lottery  # pandas comes with it

    found = [
        lottery_of(name, presets[name], records, runs, asked, settings.store) for name in names
    ]
    if settings.as_json:
        print(json.dumps(lottery.document(found), indent=1))
    else:
        from sfbench.cli.terminal import console

        console().print(lottery.table(found))
    return Exit.OK


def check(asked: Asked) -> None:
    """Raise UsageError for a request that shows no spread, before anything is trained."""
    if asked.sample_seeds > MOST_EVALUATIONS:
        msg = f"--sample-seeds {asked.sample_seeds}: expected {MOST_EVALUATIONS} or fewer"
        raise UsageError(msg)
    for flag, count in (("train-seeds", asked.train_seeds), ("sample-seeds", asked.sample_seeds)):
        if count < FEWEST:
            msg = f"--{flag} {count}: expected {FEWEST} or more; one shows no spread"
            raise UsageError(msg)
    if not 0 < asked.kimg < float("inf"):
        msg = f"--train-kimg {asked.kimg:g}: expected thousands of images, above 0"
        raise UsageError(msg)
    if asked.samples < FEWEST:
        msg = f"--samples {asked.samples}: expected {FEWEST} images or more"
        raise UsageError(msg)


def preset_of(catalogue: Catalogue, name: str, preset: str) -> Mapping[str, Any]:
    """Return a model's training preset; raises UsageError listing those there are."""
    there = {str(one["name"]): one for one in catalogue.model(name).presets}
    if preset not in there:
        msg = f"--preset {preset}: model {name} has {', '.join(there) or 'none'}"
        raise UsageError(msg)
    return there[preset]


def trained(
    name: str,
    preset: Mapping[str, Any],
    seed: int,
    asked: Asked,
    catalogue: Catalogue,
    settings: Settings,
) -> Run:
    """Return a finished run, trained now or continued unless it is in the store already."""
    request = asked.request
    decides = {
        "preset": dict(preset),
        "kimg": asked.kimg,
        "data": locate(request.data, "--data").identity(),
        "code": catalogue.model(name).code_sha256,
    }
    label = f"{plain(name)}-{plain(asked.preset)}-{digest(decides)[:12]}-seed{seed}"
    folder = settings.store / "training" / label
    with claimed(settings.store, label):
        seen = max((line.get("kimg", 0.0) for line in read_lines(folder)), default=0.0)
        if seen < asked.kimg:
            train(name, seed, folder, asked, settings)
    return Run(model=name, preset=preset, seed=seed, weights=weights_of_run(folder))


@contextlib.contextmanager
def claimed(store: Path, label: str) -> Iterator[None]:
    """Train alone: another process that trains this run is waited for."""
    claims = Claims(Store(store).claims)
    while (claim := claims.take(f"training-{label}", f"training {label}")) is None:
        time.sleep(1)
    with claim:
        yield


def train(name: str, seed: int, folder: Path, asked: Asked, settings: Settings) -> None:
    """Train one run, or continue it; raises TrainingFailedError."""
    request, label = asked.request, folder.name
    print(f"training {label}", file=sys.stderr)
    arguments = [
        "--model", name, "--preset", asked.preset, "--kimg", f"{asked.kimg:g}", "--data", request.data,
        "--seed", str(seed), "--device", request.device, "--metrics", "0",
        "--out", str(folder), "--resume",
    ]  # fmt: skip
    arguments += [] if request.threads is None else ["--threads", str(request.threads)]
    train_first.train(arguments, label, folder, settings.plugins, settings.disabled)


def judged(runs: Sequence[Run], asked: Asked, settings: Settings) -> list[Record] | None:
    """Return the records of every run and set of seeds; None if interrupted."""
    requests = [
        dataclasses.replace(
            asked.request,
            model=run.model,
            res=str(run.preset["resolution"]),
            option=options_of(run.preset),
            weights=str(run.weights),
            seed=first_seed(run.seed, number, asked),
            samples=asked.samples,
            measure="quality",
        )
        for run in runs
        for number in range(asked.sample_seeds)
    ]
    done = measuring.carried_out(requests, dataclasses.replace(settings, as_json=False))
    return None if done is None else done.records


def options_of(preset: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the model options of a training preset as flags."""
    return tuple(f"{name}={flag_text(value)}" for name, value in preset["options"].items())


def first_seed(run: int, number: int, asked: Asked) -> int:
    """Return the first seed of an evaluation of a run: no image is in two of them, in any run."""
    return FIRST_SEED + (run * MOST_EVALUATIONS + number) * asked.samples


def lottery_of(
    name: str,
    preset: Mapping[str, Any],
    records: Sequence[Record],
    runs: Sequence[Run],
    asked: Asked,
    store: Path,
) -> Lottery:
    """Return the spread of one model, and keep it; raises UsageError where a value is missing."""
    from sfbench.report.variance import components
    from sfbench.store.content import file_sha256

    mine = [run for run in runs if run.model == name]
    digests = [file_sha256(run.weights) for run in mine]
    found: dict[tuple[str, int], float] = {}
    metric = case = None
    for record in records:
        if record.case["model"] != name or record.case["weights"]["sha256"] not in digests:
            continue
        for reading in record.readings:
            if is_distance(reading.metric) and reading.value is not None:
                metric, case = reading.metric, record.case
                found[record.case["weights"]["sha256"], record.case["seed"]] = reading.value
    wanted = [
        [(sha, first_seed(run.seed, number, asked)) for number in range(asked.sample_seeds)]
        for run, sha in zip(mine, digests, strict=True)
    ]
    missing = sum(one not in found for row in wanted for one in row)
    if missing or metric is None or case is None:
        msg = f"{name}: {missing} evaluations gave no distance; sfbench report says why"
        raise UsageError(msg)
    values = [[found[one] for one in row] for row in wanted]
    spread = components(values)
    kept = Lottery(
        model=name,
        resolution=case["resolution"],
        options=dict(case["options"]),
        data=dict(case["data"]),
        preset=str(preset["name"]),
        kimg=asked.kimg,
        metric=metric,
        samples=asked.samples,
        values=values,
        mean=spread.mean,
        low=spread.low,
        high=spread.high,
        between=dataclasses.asdict(spread.between),  # type: ignore[typeddict-item]  # its fields
        within=dataclasses.asdict(spread.within),  # type: ignore[typeddict-item]  # its fields
    )
    keep_lottery(store, kept)
    return kept
