"""Time a training step of ours against the official code's, interleaved.

    python scripts/bench_training.py CHECKOUT [--only NAME,NAME] [--quads 3] [--batch N]

CHECKOUT is a folder with the official Styleformer code, which holds StyleGAN2 as well; it is run
and never copied. Both train the same architecture in the same configuration (sizes, batch, ADA,
fp32, all processors) on the same images: losses, gradients, Adam and the moving average of weights,
as each program does them. A step with R1 comes every sixteenth time: both kinds are timed apart, in
ABBA quads, and seconds per kimg are their weighted sum. The ratio is the official's over ours, its
interval from the quads. Peak memory is resident memory above what was loaded, each in a fresh
process. Exits 1 when a goal is missed.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import importlib
import json
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bench_models
import torch
from preset_learner import preset_learner

from reference_models.training_presets import TRAINING_PRESETS
from sfbench.data.decode import Decoding
from sfbench.data.prepare import Preparation, prepare
from sfbench.data.prepared import PreparedImages
from sfbench.data.ready import drawn
from sfbench.hardware import host
from sfbench.hardware.devices import find_backend
from sfbench.speed.intervals import median
from sfbench.train.data_loader import DataLoader
from sfbench.train.engine import Engine
from sfbench.train.loop import Length, Listener, Trainer

R1_EVERY = 16
IMAGES = 256
MEBI = 1 << 20
AUGMENTATIONS = {
    "xflip": 1, "rotate90": 1, "xint": 1, "scale": 1, "rotate": 1, "aniso": 1, "xfrac": 1,
    "brightness": 1, "contrast": 1, "lumaflip": 1, "hue": 1, "saturation": 1,
}  # fmt: skip
Step = Callable[[int], object]
"""Does the step of that number; R1 belongs to those divisible by sixteen."""


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """A preset of ours, the official generator of the same sizes, and its goals."""

    model: str
    preset: str
    generator: bench_models.Row
    speed: float


ROWS = {
    "stylegan2": Row("stylegan2", "cifar", bench_models.ROWS["sg32"], 1.5),
    "styleformer": Row("styleformer", "readme-example", bench_models.ROWS["s"], 1.3),
}


def preset_of(row: Row) -> Any:
    """Return the preset."""
    return next(p for p in TRAINING_PRESETS if (p.model, p.name) == (row.model, row.preset))


def images(folder: Path, side: int) -> PreparedImages:
    """Return pictures to train on; what they show does not matter here."""
    wanted = Preparation(decoding=Decoding(resolution=side))
    source = {"name": "shapes", "kind": "drawn"}
    prepare(
        drawn(side, IMAGES), folder, wanted, source=source, total=IMAGES, progress=lambda *_: None
    )
    return PreparedImages(folder)


def feed_of(row: Row, folder: Path, batch: int) -> DataLoader:
    """Return the steps' images."""
    side = preset_of(row).resolution
    return DataLoader(
        images=images(folder, side),
        batch=batch,
        seed=0,
        hflip=False,
        conditional=False,
        backend=find_backend("cpu"),
    )


def ours(row: Row, loader: DataLoader, folder: Path) -> Step:
    """Return a step of this project's loop."""
    learner, _ = preset_learner(row.model, row.preset, loader.batch)
    length = Length(steps=1 << 30, tick=1 << 30, snapshot=1 << 30, save_seconds=float("inf"))
    trainer = Trainer(learner, loader, Engine(0, 1, 1), length, folder, Listener())
    trainer.save_seconds = float("inf")

    def step(number: int) -> None:
        trainer.step = number
        trainer.take()

    return step


def theirs(row: Row, loader: DataLoader, checkout: Path) -> Step:
    """Return a step as the official loop does it: phases, Adam, the average of the weights."""
    preset = preset_of(row)
    sys.path.insert(0, str(checkout))
    generator = bench_models.theirs(row.generator, checkout)
    settings = preset.settings
    discriminator = importlib.import_module("training.networks_Discriminator").Discriminator(
        c_dim=0,
        img_resolution=preset.resolution,
        img_channels=3,
        architecture=settings["architecture"],
        channel_base=settings["d_channel_base"],
        channel_max=512,
        conv_clamp=256,
        epilogue_kwargs={"mbstd_group_size": min(settings["deviation_group"], loader.batch)},
    )
    augment = importlib.import_module("training.augment").AugmentPipe(
        aug_linformer=False, **AUGMENTATIONS
    )
    generator.train().requires_grad_(requires_grad=False)
    discriminator.train().requires_grad_(requires_grad=False)
    average = copy.deepcopy(generator).eval()
    loss = importlib.import_module("training.loss").StyleGAN2Loss(
        device=torch.device("cpu"), G_mapping=generator.mapping, G_synthesis=generator.synthesis,
        D=discriminator, augment_pipe=augment, style_mixing_prob=0, pl_weight=0,
        r1_gamma=settings["gamma"],
    )  # fmt: skip
    lazy = R1_EVERY / (R1_EVERY + 1)
    rate = settings["rate"]
    optimizers = {
        "G": torch.optim.Adam(generator.parameters(), lr=rate, betas=(0.0, 0.99), eps=1e-8),
        "D": torch.optim.Adam(
            discriminator.parameters(), lr=rate * lazy, betas=(0.0, 0.99**lazy), eps=1e-8
        ),
    }
    networks = {"G": generator, "D": discriminator}

    def phase(name: str, real: torch.Tensor, gain: int) -> None:
        network, optimizer = networks[name[0]], optimizers[name[0]]
        optimizer.zero_grad(set_to_none=True)
        network.requires_grad_(requires_grad=True)
        z, none = torch.randn(loader.batch, 512), torch.zeros(loader.batch, 0)
        loss.accumulate_gradients(
            phase=name, real_img=real, real_c=none, gen_z=z, gen_c=none, sync=True, gain=gain
        )
        network.requires_grad_(requires_grad=False)
        for parameter in network.parameters():
            if parameter.grad is not None:
                torch.nan_to_num(parameter.grad, nan=0, posinf=1e5, neginf=-1e5, out=parameter.grad)
        optimizer.step()

    def step(number: int) -> None:
        real = loader.shard(number, 0, 1).images
        phase("Gmain", real, 1)
        phase("Dmain", real, 1)
        if number % R1_EVERY == 0:
            phase("Dreg", real, R1_EVERY)
        with torch.no_grad():
            for kept, new in zip(average.parameters(), generator.parameters(), strict=True):
                kept.copy_(new.lerp(kept, 0.999))
            for kept, new in zip(average.buffers(), generator.buffers(), strict=True):
                kept.copy_(new)

    return step


def made(row: Row, which: str, batch: int, checkout: Path, folder: Path) -> Step:
    """Return one of the two, warm."""
    loader = feed_of(row, folder / f"images-{which}", batch)
    step = ours(row, loader, folder) if which == "ours" else theirs(row, loader, checkout)
    step(0)
    return step


def peak_above_loaded(name: str, which: str, batch: int, checkout: Path) -> int:
    """Return the bytes of a step's peak above the loaded program, in a fresh process."""
    command = [sys.executable, __file__, str(checkout), "--memory", which, "--only", name]
    command += ["--batch", str(batch)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603  # this script
    return int(json.loads(done.stdout.splitlines()[-1]))


def memory_child(row: Row, which: str, batch: int, checkout: Path, folder: Path) -> None:
    """Print the bytes of the peak of steps above what is resident before the first."""
    loader = feed_of(row, folder / "images", batch)
    step = ours(row, loader, folder) if which == "ours" else theirs(row, loader, checkout)
    loaded = host.host_memory("VmRSS")
    if loaded is None or not host.reset_host_peak():
        sys.exit("this system cannot reset the peak of resident memory")
    step(0)
    step(1)
    print((host.host_memory("VmHWM") or 0) - loaded)


def measure(name: str, batch: int | None, quads: int, checkout: Path) -> bool:
    """Print a row; return whether its goal is reached."""
    row = ROWS[name]
    images = batch or preset_of(row).batch
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        peer, own = (made(row, which, images, checkout, folder) for which in ("theirs", "ours"))
        seconds: list[tuple[float, float]] = []
        for _ in range(quads):
            plain, with_r1 = (quad(peer, own, number) for number in (1, R1_EVERY))
            weights = (1 - 1 / R1_EVERY, 1 / R1_EVERY)
            seconds.append(
                tuple(  # type: ignore[arg-type]  # two of them
                    (plain[side] * weights[0] + with_r1[side] * weights[1]) * 1000 / images
                    for side in (0, 1)
                )
            )
    ratios = [peer_seconds / own_seconds for peer_seconds, own_seconds in seconds]
    peaks = [peak_above_loaded(name, which, images, checkout) for which in ("ours", "theirs")]
    reached = median(ratios) >= row.speed
    print(
        f"{row.model:<12} {row.preset:<15} {images:5} {median([s[1] for s in seconds]):8.1f} "
        f"{median([s[0] for s in seconds]):8.1f} {median(ratios):6.2f} "
        f"[{min(ratios):.2f}, {max(ratios):.2f}] >= {row.speed:<4g} "
        f"{peaks[0] / MEBI:7.0f} {peaks[1] / MEBI:7.0f}  {'reached' if reached else 'MISSED'}",
        flush=True,
    )
    return reached


def quad(peer: Step, own: Step, number: int) -> tuple[float, float]:
    """Return the seconds of a step, theirs and ours: A, B, B, A."""
    order = (peer, own, own, peer)
    a, b, c, d = (bench_models.seconds(lambda step=step: step(number)) for step in order)  # type: ignore[misc]  # bound at once
    return (a + d) / 2, (b + c) / 2


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Our training against the official code.")
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--only", default=",".join(ROWS))
    parser.add_argument("--quads", type=int, default=3)
    parser.add_argument("--batch", type=int, help="instead of the configuration's")
    parser.add_argument("--memory", choices=("ours", "theirs"), help="used by the script itself")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(host.cpu_count())
    names = given.only.split(",")
    if given.memory:
        with tempfile.TemporaryDirectory() as folder:
            row = ROWS[names[0]]
            memory_child(row, given.memory, given.batch, given.checkout, Path(folder))
        return 0
    print(
        f"s/kimg, {given.quads} ABBA quads, fp32, ADA (p 0), R1 every {R1_EVERY}th step, "
        f"{host.cpu_count()} threads, {host.cpu_model()}, torch {torch.__version__}"
    )
    print(
        f"{'':<28} {'batch':>5} {'ours':>8} {'theirs':>8} {'ratio':>6} {'range':<13} {'goal':<7} "
        f"{'MiB':>7} {'theirs':>7}"
    )
    reached = [measure(name, given.batch, given.quads, given.checkout) for name in names]
    return int(not all(reached))


if __name__ == "__main__":
    sys.exit(main())
