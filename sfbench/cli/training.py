"""Behind `sfbench train` and `sfbench data build`: from flags to a run, with progress."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sfbench.api.errors import UsageError
from sfbench.api.spec import TrainingPreset
from sfbench.catalogue.registry import find_generator
from sfbench.cli import defaults, sound
from sfbench.cli.beside import announce
from sfbench.cli.exits import Exit
from sfbench.cli.one_case import one_case
from sfbench.cli.progress import PassProgress, clock
from sfbench.data.sources import opened
from sfbench.generators.loading import load_plugins
from sfbench.hardware import host, leftovers
from sfbench.hardware.processes import process_group
from sfbench.store.training_runs import training_runs
from sfbench.values.case import Request, flag_text

SNAPSHOTS = 10


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The flags of a training run; None: the preset's value, or one that depends on the model."""

    model: str
    data: str
    out: Path
    preset: str | None = None
    res: int | None = None
    kimg: float | None = None
    batch: int | None = None
    option: tuple[str, ...] = ()
    setting: tuple[str, ...] = ()
    weights: str = "random"
    dtype: str = "fp32"
    mode: str = "eager"
    device: str = "auto"
    seed: int = 0
    threads: int | None = None
    subset: int | None = None
    hflip: bool | None = None
    accumulate: int = 1
    samples: int = 1024
    snapshot_kimg: float | None = None
    extractor: str = "auto"
    resume: bool = False
    plugins: tuple[str, ...] = ()
    disabled: tuple[str, ...] = ()


def train(asked: Asked, *, as_json: bool) -> Exit:
    """Train; 130 when interrupted, with the last complete step saved."""
    if leftovers.PARENT in os.environ:
        leftovers.end_with(int(os.environ[leftovers.PARENT]))
    group = process_group()
    catalogue = defaults.catalogue(asked.plugins, asked.disabled)
    catalogue.model(asked.model)
    sound.check_images(data=asked.data)
    sound.note_clashes(data=asked.data)
    from sfbench.train import training  # torch comes with it

    shown = Shown(asked, quiet=group.rank > 0, as_json=as_json)
    names = catalogue.owners(asked.model, asked.extractor)
    loaded, _ = load_plugins(names, asked.plugins, asked.disabled)
    _, spec = find_generator(loaded, asked.model)
    preset = chosen(spec.presets, asked)
    settings = resolved_settings(spec, preset, asked.setting)
    request = Request(
        model=asked.model,
        res=str(asked.res or (preset.resolution if preset else 32)),
        batch=str(asked.batch or (preset.batch if preset else 32)),
        option=(*preset_options(preset), *asked.option),
        weights=asked.weights,
        dtype=asked.dtype,
        mode=asked.mode,
        device=asked.device,
        seed=asked.seed,
        threads=asked.threads or max(host.cpu_count() // group.world, 1),
        measure="quality",
        extractor=asked.extractor,
    )
    case = one_case(request, catalogue, "train")
    check(asked, case.mode, case.dtype)
    kimg = asked.kimg or (preset.kimg if preset else None)
    if kimg is None:
        msg = f"training {asked.model} needs --kimg N (thousands of images) or --preset NAME"
        raise UsageError(msg)
    if group.rank == 0:
        announce("--data", opened(asked.data)[1])
    images = training.ready_images(
        asked.data,
        case.resolution,
        defaults.cache_folder() / "images",
        asked.subset,
        shown.progress,
    )
    wanted = training.Wanted(
        case=case,
        spec=spec,
        plugins=loaded,
        code_sha256=catalogue.model(asked.model).code_sha256,
        preset=preset.name if preset else None,
        settings=settings,
        images=images,
        batch=case.batch,
        parts=asked.accumulate,
        kimg=kimg,
        snapshot_kimg=asked.snapshot_kimg or kimg / SNAPSHOTS,
        hflip=(preset.hflip if preset else False) if asked.hflip is None else asked.hflip,
        samples=asked.samples,
        features=defaults.cache_folder() / "features",
        out=asked.out,
        resume=asked.resume,
    )
    try:
        training.train(wanted, group, shown)
    except KeyboardInterrupt:
        shown.clear()
        print(
            f"interrupted: the last full step was saved; add --resume to continue ({asked.out})",
            file=sys.stderr,
        )
        return Exit.INTERRUPTED
    shown.ended(request)
    return Exit.OK


def chosen(presets: tuple[TrainingPreset, ...], asked: Asked) -> TrainingPreset | None:
    """Return the named preset; raises UsageError listing the available ones."""
    if asked.preset is None:
        return None
    found = [preset for preset in presets if preset.name == asked.preset]
    if not found:
        names = ", ".join(preset.name for preset in presets) or "none"
        msg = f"--preset {asked.preset}: model {asked.model} has {names}"
        raise UsageError(msg)
    if asked.res not in {None, found[0].resolution}:
        msg = f"--res {asked.res}: preset {asked.preset} is for {found[0].resolution} px"
        raise UsageError(msg)
    return found[0]


def preset_options(preset: TrainingPreset | None) -> tuple[str, ...]:
    """Return the preset's model options as flags."""
    given = {} if preset is None else preset.options
    return tuple(f"{name}={flag_text(value)}" for name, value in given.items())


def resolved_settings(
    spec: Any, preset: TrainingPreset | None, given: tuple[str, ...]
) -> dict[str, Any]:
    """Return every setting of training: the default, the preset's value, or the given one."""
    known = {option.name: option for option in spec.settings}
    values = {name: option.default for name, option in known.items()}
    values |= dict(preset.settings) if preset else {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or name not in known:
            msg = f"--set {text}: expected NAME=VALUE with one of {', '.join(known) or 'none'}"
            raise UsageError(msg)
        values[name] = known[name].parse(value)
    return values


def check(asked: Asked, mode: str, dtype: str) -> None:
    """Raise UsageError for settings that training does not support."""
    complaints = {
        f"--mode {mode}: expected eager or compile": mode not in {"eager", "compile"},
        f"--dtype {dtype}: expected fp32, tf32 or bf16": dtype == "fp16",
        f"--accumulate {asked.accumulate}: expected 1 or more": asked.accumulate < 1,
        f"--metrics {asked.samples}: expected 0 (off) or 2 or more": asked.samples < 0
        or asked.samples == 1,
        f"--kimg {asked.kimg}: expected more than 0": asked.kimg is not None and asked.kimg <= 0,
    }
    for words, wrong in complaints.items():
        if wrong:
            raise UsageError(words)


class Shown:
    """Shows a run: a live line on a terminal, else one line per tick; JSON lines if requested."""

    def __init__(self, asked: Asked, *, quiet: bool, as_json: bool) -> None:
        self.asked = asked
        self.quiet = quiet
        self.as_json = as_json
        self.bar = PassProgress(sys.stderr, live=sys.stderr.isatty(), quiet=quiet)
        self.limited = False

    def progress(self, what: str, done: int, total: int | None) -> None:
        """Show the progress of a pass over images."""
        self.bar(what, done, total or 0)

    def began(self, step: int, length: Any, complaint: str | None) -> None:
        """Print where the run begins."""
        self.clear()
        if complaint:
            self.say(f"warning: {complaint}; continuing from the previous state")
        words = f"from step {step:,}" if step else "from the start"
        self.say(f"training {self.asked.model}, {length.steps:,} steps, {words}: {self.asked.out}")

    def line(self, line: Mapping[str, Any]) -> None:
        """Show a tick."""
        if self.as_json and not self.quiet:
            print(json.dumps(line), flush=True)
        parts = [f"{line['kimg']:.2f} kimg", f"{line['seconds_per_kimg']:.3g} s/kimg"]
        parts += [f"{name} {line[name]:.3f}" for name in ("G/loss", "D/loss") if name in line]
        if "augment/p" in line:
            parts.append(f"p {line['augment/p']:.3f}")
        if line.get("augment/limited") == 1 and not self.limited:
            self.limited = True
            self.say(
                f"warning: augmentation is at its limit, p {line['augment/p']:.2f}: the "
                "discriminator has memorized its images; use more or a larger --gamma"
            )
        if line["peak_bytes"]:
            parts.append(f"{line['peak_bytes'] / (1 << 20):,.0f} MiB")
        parts.append(f"{clock(line['seconds_left'])} left")
        self.bar.show("  ".join(parts))

    def snapshot(self, step: int, readings: list[Any]) -> None:
        """Print what a snapshot measured."""
        found = [f"{r.metric} {r.value:.4g}" for r in readings if r.value is not None]
        if found:
            self.say(f"step {step:,}: {', '.join(found[:3])}")

    def went_back(self, phases: list[str], step: int, factor: float) -> None:
        """Report a rollback after NaN or infinite losses."""
        self.say(
            f"warning: losses of {', '.join(phases)} were NaN or infinite; rolled back to step "
            f"{step:,} with {factor:g} times the learning rate"
        )

    def ended(self, request: Request) -> None:
        """Print where the result is, and the command that measures it."""
        self.clear()
        after = Request(
            model=request.model,
            res=request.res,
            option=request.option,
            weights=str(self.asked.out),
            data=self.asked.data,
        )
        from sfbench.report.best_snapshot import best_snapshot  # numpy comes with it

        best = best_snapshot(training_runs(self.asked.out)[0])
        if best is not None:
            self.say(best.told())
        weights = self.asked.out / "weights.safetensors"
        self.say(f"weights: {weights}; measure them with\n  {after.command()}")

    def say(self, text: str) -> None:
        """Write a line that stays."""
        self.clear()
        if not self.quiet:
            print(text, file=sys.stderr)

    def clear(self) -> None:
        """Remove the live line."""
        self.bar.clear()
