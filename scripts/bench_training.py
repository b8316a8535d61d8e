"""Time a training step of ours against the official code's, interleaved.

    python scripts/bench_training.py CHECKOUT [--only NAME,NAME] [--quads 3] [--batch N] [--device cuda]
        [--kernels torch]   (on a GPU)

CHECKOUT is a folder with the official Styleformer code, which holds StyleGAN2 as well; it is run
and never copied. Both train the same architecture in the same configuration (sizes, batch, ADA,
fp32, all processors) on the same images: losses, gradients, Adam and the moving average of weights,
as each program does them. A step with R1 comes every sixteenth time: both kinds are timed apart, in
ABBA quads, and seconds per kimg are their weighted sum; each part of a quad is as many steps as fill
a tenth of a second. The ratio is the official's over ours, its interval from the quads. Peak memory
is the allocator's on a GPU, else resident memory, above what was loaded, each in a fresh process.
Exits 1 when a goal is missed.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
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

from reference_models.augmentation import Sampled
from reference_models.training_presets import TRAINING_PRESETS
from sfbench.data.decode import Decoding
from sfbench.data.prepare import Preparation, prepare
from sfbench.data.prepared import PreparedImages
from sfbench.data.ready import drawn
from sfbench.hardware import host
from sfbench.hardware.backend import Backend
from sfbench.hardware.devices import resolve
from sfbench.hardware.policy import set_policy
from sfbench.speed.blocks import calls_per_block, time_block
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
    "stylegan2": Row("stylegan2", "cifar", bench_models.ROWS["sg32"], 2.0),
    "styleformer": Row("styleformer", "readme-example", bench_models.ROWS["s"], 1.6),
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


def feed_of(row: Row, folder: Path, batch: int, backend: Backend) -> DataLoader:
    """Return the steps' images."""
    side = preset_of(row).resolution
    return DataLoader(
        images=images(folder, side),
        batch=batch,
        seed=0,
        hflip=False,
        conditional=False,
        backend=backend,
    )


def ours(row: Row, loader: DataLoader, folder: Path, kernels: str) -> Step:
    """Return a step of this project's loop."""
    learner, _ = preset_learner(
        row.model, row.preset, loader.batch, loader.backend.name, {"kernels": kernels}
    )
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
    device = torch.device(loader.backend.name)
    generator = bench_models.theirs(row.generator, checkout).to(device)
    settings = preset.settings
    networks = bench_models.official_module(checkout, "training.networks_Discriminator")
    discriminator = networks.Discriminator(
        c_dim=0,
        img_resolution=preset.resolution,
        img_channels=3,
        architecture=settings["architecture"],
        channel_base=settings["d_channel_base"],
        channel_max=512,
        conv_clamp=256,
        epilogue_kwargs={"mbstd_group_size": min(settings["deviation_group"], loader.batch)},
    )
    discriminator = discriminator.to(device)
    # Its own grid_sample that can be derived twice knows torch 1.7 to 1.9 alone; R1 needs one.
    sampling = bench_models.official_module(checkout, "torch_utils.ops.grid_sample_gradfix")
    sampling.grid_sample = Sampled.apply
    augment = bench_models.official_module(checkout, "training.augment").AugmentPipe(
        aug_linformer=False, **AUGMENTATIONS
    )
    augment = augment.to(device)
    generator.train().requires_grad_(requires_grad=False)
    discriminator.train().requires_grad_(requires_grad=False)
    average = copy.deepcopy(generator).eval()
    loss = bench_models.official_module(checkout, "training.loss").StyleGAN2Loss(
        device=device, G_mapping=generator.mapping, G_synthesis=generator.synthesis,
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
    parts = {"G": generator, "D": discriminator}

    def phase(name: str, real: torch.Tensor, gain: int) -> None:
        network, optimizer = parts[name[0]], optimizers[name[0]]
        optimizer.zero_grad(set_to_none=True)
        network.requires_grad_(requires_grad=True)
        z = torch.randn(loader.batch, 512, device=device)
        none = torch.zeros(loader.batch, 0, device=device)
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


def made(row: Row, which: str, given: argparse.Namespace, folder: Path, backend: Backend) -> Step:
    """Return one of the two, warm."""
    step = fresh(row, which, given, folder, backend)
    step(0)
    step(1)
    return step


def fresh(row: Row, which: str, given: argparse.Namespace, folder: Path, backend: Backend) -> Step:
    """Return one of the two."""
    images = given.batch or preset_of(row).batch
    loader = feed_of(row, folder / f"images-{which}", images, backend)
    if which == "theirs":
        return theirs(row, loader, given.checkout)
    return ours(row, loader, folder, given.kernels)


def peak_above_loaded(name: str, which: str, batch: int, given: argparse.Namespace) -> int:
    """Return the bytes of a step's peak above the loaded program, in a fresh process."""
    command = [sys.executable, __file__, str(given.checkout), "--memory", which, "--only", name]
    command += ["--batch", str(batch), "--device", given.device, "--dtype", given.dtype]
    command += ["--kernels", given.kernels]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603  # this script
    return int(json.loads(done.stdout.splitlines()[-1]))


def memory_child(row: Row, which: str, given: argparse.Namespace, backend: Backend) -> None:
    """Print the bytes of the peak of steps above what is in use before the first."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        step = fresh(row, which, given, folder, backend)
        backend.reset_peaks()
        allocator, loaded = backend.peaks(), host.host_memory("VmRSS")
        if loaded is None or not host.reset_host_peak():
            sys.exit("this system cannot reset the peak of resident memory")
        step(0)
        step(1)
        backend.synchronize()
    most = backend.peaks()
    if allocator is not None and most is not None:
        print(most.allocated - allocator.allocated)
    else:
        print((host.host_memory("VmHWM") or 0) - loaded)


def measure(name: str, given: argparse.Namespace, backend: Backend) -> bool:
    """Print a row; return whether its goal is reached."""
    row = ROWS[name]
    images = given.batch or preset_of(row).batch
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        peer, own = (made(row, which, given, folder, backend) for which in ("theirs", "ours"))
        seconds: list[tuple[float, float]] = []
        for _ in range(given.quads):
            plain, with_r1 = (quad(peer, own, number, backend) for number in (1, R1_EVERY))
            weights = (1 - 1 / R1_EVERY, 1 / R1_EVERY)
            seconds.append(
                tuple(  # type: ignore[arg-type]  # two of them
                    (plain[side] * weights[0] + with_r1[side] * weights[1]) * 1000 / images
                    for side in (0, 1)
                )
            )
    ratios = [peer_seconds / own_seconds for peer_seconds, own_seconds in seconds]
    peaks = [peak_above_loaded(name, which, images, given) for which in ("ours", "theirs")]
    reached = median(ratios) >= row.speed
    print(
        f"{row.model:<12} {row.preset:<15} {images:5} {median([s[1] for s in seconds]):8.1f} "
        f"{median([s[0] for s in seconds]):8.1f} {median(ratios):6.2f} "
        f"[{min(ratios):.2f}, {max(ratios):.2f}] >= {row.speed:<4g} "
        f"{peaks[0] / MEBI:7.0f} {peaks[1] / MEBI:7.0f}  {'reached' if reached else 'MISSED'}",
        flush=True,
    )
    return reached


def quad(peer: Step, own: Step, number: int, backend: Backend) -> tuple[float, float]:
    """Return the seconds of a step, theirs and ours: A, B, B, A."""

    def seconds(step: Step, calls: int = 1) -> float:
        return time_block(lambda: step(number), calls, backend).seconds_per_call

    calls = {
        step: calls_per_block(seconds(step), bench_models.PART_SECONDS) for step in (peer, own)
    }
    a, b, c, d = (seconds(step, calls[step]) for step in (peer, own, own, peer))
    return (a + d) / 2, (b + c) / 2


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Our training against the official code.")
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--only", default=",".join(ROWS))
    parser.add_argument("--quads", type=int, default=3)
    parser.add_argument("--batch", type=int, help="instead of the configuration's")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=("fp32", "tf32"), default="fp32")
    parser.add_argument("--kernels", choices=("torch", "native"), default="native")
    parser.add_argument("--memory", choices=("ours", "theirs"), help="used by the script itself")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    backend = resolve(given.device)
    set_policy(backend, given.dtype, host.cpu_count())
    official = bench_models.kernels(given.checkout, backend)
    names = given.only.split(",")
    if given.memory:
        memory_child(ROWS[names[0]], given.memory, given, backend)
        return 0
    print(f"the official code uses {official}")
    print(
        f"s/kimg, {given.quads} ABBA quads, {given.dtype}, kernels={given.kernels}, ADA (p 0), "
        f"R1 every {R1_EVERY}th step, {host.cpu_count()} threads, {backend.processor()}, "
        f"torch {torch.__version__}"
    )
    print(
        f"{'':<28} {'batch':>5} {'ours':>8} {'theirs':>8} {'ratio':>6} {'range':<13} {'goal':<7} "
        f"{'MiB':>7} {'theirs':>7}"
    )
    reached = [measure(name, given, backend) for name in names]
    return int(not all(reached))


if __name__ == "__main__":
    sys.exit(main())
