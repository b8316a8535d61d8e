"""A training run from end to end: data, learner, loop, pictures, quality, weights."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from PIL import Image
from safetensors import SafetensorError

from sfbench.api.errors import DataError, UnsupportedError, UsageError
from sfbench.api.learning import Learner
from sfbench.api.spec import BuildRequest, GeneratorSpec, LearnRequest
from sfbench.catalogue.registry import Plugin
from sfbench.data.prepared import PreparedDataset, PreparedImages
from sfbench.data.ready import ready_images
from sfbench.hardware.devices import find_backend
from sfbench.hardware.host import host_memory
from sfbench.hardware.policy import set_policy
from sfbench.hardware.processes import ProcessGroup
from sfbench.inspection.tiles import grid
from sfbench.quality.extractors import open_extractor
from sfbench.quality.probe import QualityProbe
from sfbench.store.whole_file import write_whole
from sfbench.train import run_folder
from sfbench.train.data_loader import DataLoader
from sfbench.train.engine import Engine, joined
from sfbench.train.log import RunLog
from sfbench.train.loop import Length, Listener, Tick, Trainer
from sfbench.values.case import Case
from sfbench.values.metrics import is_distance
from sfbench.values.pixels import to_bytes, to_rgb
from sfbench.values.records import Reading

__all__ = ["Wanted", "Watcher", "ready_images", "train"]

KIMG = 1000
TICKS = 200
LONGEST_TICK = 4.0
FEWEST = 2
PICTURES = 64
PICTURE_BATCH = 16


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to train, on what data, for how long, and what to evaluate during training.

    `case`: model, size, initial weights, precision, mode, device, seed. `parts`: shards per
    process, whose gradients are summed. `samples`: images used to evaluate a snapshot (0 = off).
    """

    case: Case
    spec: GeneratorSpec
    plugins: tuple[Plugin, ...]
    code_sha256: str
    preset: str | None
    settings: Mapping[str, Any]
    images: PreparedImages
    batch: int
    parts: int
    kimg: float
    snapshot_kimg: float
    hflip: bool
    samples: int
    features: Path
    out: Path
    resume: bool

    def document(self, world: int) -> dict[str, Any]:
        """Return the contents of run.json: all settings that decide the numbers, and the length."""
        case = self.case
        inputs = case.inputs()
        data = self.images
        return {
            "model": case.model,
            "resolution": case.resolution,
            "options": inputs["options"],
            "settings": dict(self.settings),
            "preset": self.preset,
            "weights": inputs["weights"],
            "data": {"name": data.meta["source"]["name"], "sha256": data.sha256},
            "images": len(data),
            "mirror": self.hflip,
            "batch": self.batch,
            "seed": case.seed,
            "dtype": case.dtype,
            "mode": case.mode,
            "code": self.code_sha256,
            "kimg": self.kimg,
            "processes": world,
        }

    @property
    def length(self) -> Length:
        """The run in steps: about 200 log lines, at most 4 kimg apart."""
        steps = max(round(self.kimg * KIMG / self.batch), 1)
        tick = min(self.kimg / TICKS, LONGEST_TICK) * KIMG
        return Length(
            steps=steps,
            tick=max(round(tick / self.batch), 1),
            snapshot=max(round(self.snapshot_kimg * KIMG / self.batch), 1),
        )


class Watcher(Protocol):
    """Callbacks of a run; the command line overrides those it displays."""

    def began(self, step: int, length: Length, complaint: str | None) -> None:
        """Handle the start: the first step, and a warning about damaged states."""

    def line(self, line: Mapping[str, Any]) -> None:
        """Handle a line of the log."""

    def snapshot(self, step: int, readings: list[Reading]) -> None:
        """Handle a snapshot, with its quality."""

    def went_back(self, phases: list[str], step: int, factor: float) -> None:
        """Handle a rollback after NaN or infinite losses."""

    def progress(self, what: str, done: int, total: int | None) -> None:
        """Handle the progress of a pass over images."""


def train(wanted: Wanted, group: ProcessGroup, watcher: Watcher) -> Path:
    """Train to the end, from the newest state if there is one; return the folder.

    Raises UsageError, DataError or UnsupportedError before any work; DivergedError if it diverges.
    """
    case = wanted.case
    backend = find_backend(case.device)
    if group.world > 1:
        backend = backend.of_process(group.local_rank)
    set_policy(backend, case.dtype if case.dtype == "tf32" else "fp32", case.threads)
    with joined(group, wanted.parts, backend.process_group) as engine:
        # First what can fail: a folder with a run in it means that training began.
        learner = build_learner(wanted, engine)
        if engine.rank == 0:
            run_folder.begin(wanted.out, wanted.document(group.world), resume=wanted.resume)
        engine.wait()
        listener = Recorder(wanted, learner, engine, watcher)
        loader = DataLoader(
            images=wanted.images,
            batch=wanted.batch,
            seed=case.seed,
            hflip=wanted.hflip,
            conditional=bool(case.options.get("c_dim")),
            backend=backend,
        )
        trainer = Trainer(learner, loader, engine, wanted.length, wanted.out, listener)
        complaint = trainer.resume()
        if trainer.step > wanted.length.steps:
            done = trainer.step * wanted.batch / KIMG
            asked = f"--kimg {wanted.kimg:g} asks for less"
            msg = f"{wanted.out} is trained for {done:g} kimg already; {asked}"
            raise UsageError(msg)
        listener.begin(trainer)
        watcher.began(trainer.step, wanted.length, complaint)
        try:
            trainer.run()
        except (OSError, SafetensorError) as error:
            msg = f"{wanted.out}: cannot be written ({error}); free space, then add --resume"
            raise DataError(msg) from None
        finally:
            listener.end()
    return wanted.out


def build_learner(wanted: Wanted, engine: Engine) -> Learner:
    """Return the learner; raises with a hint for models that cannot be trained."""
    case, spec = wanted.case, wanted.spec
    if spec.build_learner is None:
        msg = f"model {spec.name} cannot be trained: its GeneratorSpec has no build_learner"
        raise UnsupportedError(msg)
    check_images(wanted)
    count = engine.world * engine.parts
    if wanted.batch % count:
        msg = (
            f"--batch {wanted.batch}: not divisible by {engine.world} processes x {engine.parts} "
            "parts of --accumulate"
        )
        raise UsageError(msg)
    request = LearnRequest(
        build=BuildRequest(
            resolution=case.resolution,
            options=case.options,
            weights=None if case.weights.path is None else Path(case.weights.path),
            seed=case.seed,
            device=case.device,
        ),
        settings=wanted.settings,
        batch=wanted.batch,
        shard=wanted.batch // count,
        compiled=case.mode == "compile",
        autocast={"bf16": "bfloat16"}.get(case.dtype),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(case.seed)
        return spec.build_learner(request)


def check_images(wanted: Wanted) -> None:
    """Raise if there is only one image, or if the requested classes do not match the labels."""
    if len(wanted.images) < FEWEST:
        msg = f"{wanted.images.folder}: {len(wanted.images)} image; expected at least 2"
        raise DataError(msg)
    asked, there = int(wanted.case.options.get("c_dim") or 0), wanted.images.classes
    if asked and asked != there:
        words = f"{there} classes" if there else "no labels"
        msg = f"option c_dim={asked}: the images have {words}; set c_dim={there}"
        raise UsageError(msg)


class Recorder(Listener):
    """Writes log, pictures and weights in the first process; all processes see the same run."""

    def __init__(self, wanted: Wanted, learner: Learner, engine: Engine, watcher: Watcher) -> None:
        self.wanted = wanted
        self.learner = learner
        self.engine = engine
        self.watcher = watcher
        self.log: RunLog | None = None
        self.rates: list[tuple[int, float]] = []

    def begin(self, trainer: Trainer) -> None:
        """Continue the log at the state's step."""
        if self.engine.rank == 0:
            self.log = RunLog(self.wanted.out, trainer.step)

    def end(self) -> None:
        """Close the log."""
        if self.log is not None:
            self.log.close()

    def tick(self, tick: Tick) -> None:
        """Write and show a line."""
        if self.log is None:
            return
        images = tick.steps * self.wanted.batch
        self.rates = [*self.rates, (images, tick.seconds)][-20:]
        # The first tick includes one-time costs; later ones show the run's rate.
        told = self.rates[1:] or self.rates
        per_image = sum(s for _, s in told) / max(sum(i for i, _ in told), 1)
        left = self.wanted.length.steps * self.wanted.batch - tick.images
        line = {
            "step": tick.step,
            "kimg": tick.images / KIMG,
            **tick.means,
            "seconds_per_kimg": tick.seconds / max(images, 1) * KIMG,
            "images_per_second": images / tick.seconds if tick.seconds else None,
            "teraflops": tick.operations / tick.seconds / 1e12 if tick.seconds else None,
            "seconds_left": per_image * left,
            "peak_bytes": peak_bytes(self.wanted.case.device),
        }
        self.log.add(line)
        self.watcher.line(line)

    def snapshot(self, step: int) -> None:
        """Draw pictures, measure quality, and save the weights, the best ones separately."""
        if self.engine.rank == 0:
            generator = self.learner.generator()
            kimg = step * self.wanted.batch / KIMG
            with torch.inference_mode():
                parts = [
                    generator.synthesize(generator.draw_latents(range(i, i + PICTURE_BATCH)))
                    for i in range(0, PICTURES, PICTURE_BATCH)
                ]
            pixels = to_rgb(to_bytes(torch.cat([part.float() for part in parts])))
            folder = self.wanted.out / "pictures"
            folder.mkdir(exist_ok=True)
            Image.fromarray(grid(pixels)).save(folder / f"{kimg:09.1f}.png")
            readings = self.quality(generator)
            values = {f"quality/{r.metric}": r.value for r in readings if r.value is not None}
            values |= {
                f"quality/{r.metric}/standard_error": r.how["standard_error"]
                for r in readings
                if is_distance(r.metric) and "standard_error" in r.how
            }
            if values and self.log is not None:
                self.log.add({"step": step, "kimg": kimg, **values})
            self.keep(step, readings)
            self.watcher.snapshot(step, readings)
        self.engine.wait()

    def quality(self, generator: Any) -> list[Reading]:
        """Return the current quality of the EMA generator."""
        wanted = self.wanted
        if not wanted.samples:
            return []
        case = wanted.case
        probe = QualityProbe(
            dataset=PreparedDataset(wanted.images),
            extractor=open_extractor(case.extractor, case.device, plugins=list(wanted.plugins)),
            samples=wanted.samples,
            seed=0,
            batch=PICTURE_BATCH,
            device=case.device,
            store=wanted.features,
            progress=self.watcher.progress,
        )
        return list(probe(generator))

    def keep(self, step: int, readings: list[Reading]) -> None:
        """Write the weights of this snapshot, also as the best ones if they are."""
        out = self.wanted.out
        distance = next((r for r in readings if is_distance(r.metric)), None)
        card = {
            "step": step,
            "kimg": step * self.wanted.batch / KIMG,
            "identity": run_folder.identity(self.wanted.document(self.engine.world)),
            "quality": {r.metric: r.value for r in readings},
            "quality_how": dict(distance.how) if distance is not None else None,
        }
        save_weights(self.learner, out, run_folder.LATEST, card)
        if distance is None or distance.value is None:
            return
        best = out / f"{run_folder.BEST}.json"
        least = float("inf")
        if best.is_file():
            told = json.loads(best.read_text(encoding="utf-8"))
            least = told["quality"].get(distance.metric, least) if told["step"] < step else least
        if distance.value < least:
            save_weights(self.learner, out, run_folder.BEST, card)

    def went_back(self, phases: list[str], step: int, factor: float) -> None:
        """Truncate the log, and report the rollback."""
        if self.engine.rank == 0:
            self.end()
            self.log = RunLog(self.wanted.out, step)
            self.watcher.went_back(phases, step, factor)


def save_weights(learner: Learner, folder: Path, name: str, card: Mapping[str, Any]) -> None:
    """Write a weights file and its card, each atomically."""
    part = folder / f"{name}.part.safetensors"
    learner.save_weights(part)
    part.replace(folder / f"{name}.safetensors")
    write_whole(folder / f"{name}.json", json.dumps(card, indent=1, default=str), durable=True)


def peak_bytes(where: str) -> int | None:
    """Return the peak memory so far: of the device's allocator, or of the process."""
    peaks = find_backend(where).peaks()
    return host_memory("VmHWM") if peaks is None else peaks.allocated
