"""Time our models against the official code, interleaved, and compare their peak memory.

    python scripts/bench_models.py CHECKOUT [--only NAME,NAME] [--quads 8]

CHECKOUT is a folder with the official Styleformer code, which holds StyleGAN2 as well; it is run
and never copied. Both get the same weights and the same latents (batch 8, fp32, all processors),
and their images are compared. Both draw their noise inside the timed call. The speed ratio is the
official seconds over ours, the median of ABBA quads with the order-statistic interval of that
median; the memory ratio is our peak of resident memory above the loaded model over theirs, each in
a fresh process. Exits 1 when a goal is missed or images differ.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from reference_models import official
from reference_models.style_generator import StyleGenerator
from reference_models.styleformer import Styleformer
from reference_models.stylegan2 import StyleGAN2
from sfbench.hardware import host
from sfbench.speed.intervals import median, quantile_interval

BATCH = 8
LATENT = 512
TOLERANCE = 5e-6
MEBI = 1 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """One model of the table: the official class and arguments, and its goals."""

    title: str
    module: str
    arguments: dict[str, Any]
    speed: float
    memory: float


def styleformer(title: str, sizes: str, *, linformer: bool, speed: float, memory: float) -> Row:
    """Return a row of Styleformer; `sizes` reads "256,64,16/1,2,2"."""
    widths, layers = ([int(n) for n in part.split(",")] for part in sizes.split("/"))
    synthesis = {
        "depth": 32,
        "minimum_head": 1,
        "num_layers": layers,
        "G_dict": widths,
        "conv_clamp": 256,
        "linformer": linformer,
    }
    side = 4 << len(widths)
    return Row(title, "training.networks_Generator", arguments(side, synthesis), speed, memory)


def stylegan2(side: int) -> Row:
    """Return a row of StyleGAN2 with the channels of its published configuration."""
    synthesis = {
        "channel_base": 32768,
        "channel_max": 512,
        "conv_clamp": 256,
        "architecture": "skip",
    }
    return Row(f"StyleGAN2, {side} px", "training.networks", arguments(side, synthesis), 1.5, 0.8)


def arguments(side: int, synthesis: dict[str, Any]) -> dict[str, Any]:
    """Return what the official constructor takes."""
    return {
        "z_dim": LATENT,
        "c_dim": 0,
        "w_dim": LATENT,
        "img_resolution": side,
        "img_channels": 3,
        "mapping_kwargs": {"num_layers": 2},
        "synthesis_kwargs": synthesis,
    }


LOW, CHURCH = "1024,256,64", "1024,256,64,64,64/1,2,1,1,1"
ROWS = {
    "s": styleformer(
        "Styleformer S, 32 px", "256,64,16/1,2,2", linformer=False, speed=2, memory=0.8
    ),
    "m": styleformer("Styleformer M, 32 px", f"{LOW}/1,3,3", linformer=False, speed=2, memory=0.8),
    "l": styleformer(
        "Styleformer Large, 32 px", "1024,512,512/1,3,3", linformer=False, speed=2, memory=0.5
    ),
    "full64": styleformer(
        "full attention, 64 px", f"{LOW},64/1,2,1,1", linformer=False, speed=4, memory=0.25
    ),
    "lin64": styleformer(
        "Linformer, 64 px", f"{LOW},64/1,2,1,1", linformer=True, speed=2, memory=0.5
    ),
    "lin128": styleformer("Linformer, 128 px", CHURCH, linformer=True, speed=2, memory=0.5),
    "lin256": styleformer(
        "Linformer, 256 px", f"{LOW},64,64,64/1,2,1,1,1,1", linformer=True, speed=2, memory=0.5
    ),
    "sg32": stylegan2(32),
    "sg64": stylegan2(64),
}


def theirs(row: Row, checkout: Path) -> nn.Module:
    """Return the official generator with its own initial weights, seeded."""
    sys.path.insert(0, str(checkout))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made: nn.Module = importlib.import_module(row.module).Generator(**row.arguments)
    return made.eval().requires_grad_(requires_grad=False)


def ours(row: Row) -> StyleGenerator:
    """Return our generator of the same architecture."""
    if row.module == "training.networks":
        model: StyleGenerator = StyleGAN2(official.stylegan2_config(row.arguments))
    else:
        config = official.styleformer_config(row.arguments, start_resolution=8)
        model = Styleformer(config)
    return model.eval().requires_grad_(requires_grad=False)


def call(model: nn.Module, z: Tensor) -> Callable[[], Tensor]:
    """Return the timed call: noise is drawn in it, as the official programs do."""
    if not isinstance(model, StyleGenerator):
        return lambda: model(z, None)
    sources = [torch.Generator().manual_seed(seed) for seed in range(len(z))]
    return lambda: model(z, noise=model.draw_noise(sources))


def latents() -> Tensor:
    """Return the batch."""
    return torch.randn(BATCH, LATENT, generator=torch.Generator().manual_seed(0))


def seconds(work: Callable[[], object]) -> float:
    """Return how long the work takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def quads(peer: Callable[[], object], own: Callable[[], object], count: int) -> list[float]:
    """Return the ratio of each ABBA quad: the peer's seconds over ours."""
    ratios = []
    for _ in range(count):
        a, b, c, d = seconds(peer), seconds(own), seconds(own), seconds(peer)
        ratios.append((a + d) / (b + c))
    return ratios


def peak_above_loaded(name: str, checkout: Path, which: str) -> int:
    """Return the bytes of the peak above the loaded model, measured in a fresh process."""
    command = [sys.executable, __file__, str(checkout), "--memory", which, "--only", name]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603  # this script
    return int(json.loads(done.stdout.splitlines()[-1]))


def memory_child(row: Row, checkout: Path, which: str) -> None:
    """Print the bytes of the peak above the loaded model."""
    model = theirs(row, checkout) if which == "theirs" else ours(row)
    if which == "ours":
        official_weights(model)
    z = latents()
    loaded = host.host_memory("VmRSS")
    if loaded is None or not host.reset_host_peak():
        sys.exit("this system cannot reset the peak of resident memory")
    with torch.inference_mode():
        for _ in range(2):
            call(model, z)()
    print((host.host_memory("VmHWM") or 0) - loaded)


def official_weights(model: nn.Module) -> None:
    """Fill our model with drawn weights: untouched memory would not be resident."""
    source = torch.Generator().manual_seed(0)
    for tensor in [*model.parameters(), *model.buffers()]:
        tensor.normal_(generator=source)


def measure(name: str, row: Row, checkout: Path, count: int) -> bool:
    """Print a row; return whether its goals are reached."""
    peer, own = theirs(row, checkout), ours(row)
    own.load_state_dict(official.official_state(dict(peer.state_dict())), strict=True)
    z = latents()
    with torch.inference_mode():
        first, second = call(peer, z), call(own, z)
        expected, got = first(), second()  # noise strengths are 0 before training
        difference = ((got - expected).abs().max() / expected.abs().max()).item()
        second()
        ratios = quads(first, second, count)
    interval = quantile_interval(ratios, 0.5)
    bounds = f"[{interval[0]:.2f}, {interval[1]:.2f}]" if interval else ""
    own_peak = peak_above_loaded(name, checkout, "ours")
    peer_peak = peak_above_loaded(name, checkout, "theirs")
    memory = own_peak / peer_peak
    reached = median(ratios) >= row.speed and memory <= row.memory and difference <= TOLERANCE
    print(
        f"{row.title:<26} {median(ratios):5.2f} {bounds:<14} >= {row.speed:<4g} "
        f"{memory:5.2f} <= {row.memory:<5g} {own_peak / MEBI:6.0f} {peer_peak / MEBI:6.0f}  "
        f"{difference:.0e}  {'reached' if reached else 'MISSED'}",
        flush=True,
    )
    return reached


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Our models against the official code.")
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--only", default=",".join(ROWS))
    parser.add_argument("--quads", type=int, default=8)
    parser.add_argument("--memory", choices=("ours", "theirs"), help="used by the script itself")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(host.cpu_count())
    names = given.only.split(",")
    if given.memory:
        memory_child(ROWS[names[0]], given.checkout, given.memory)
        return 0
    print(
        f"official seconds over ours, {given.quads} ABBA quads, batch {BATCH}, fp32, "
        f"{host.cpu_count()} threads, {host.cpu_model()}, torch {torch.__version__}"
    )
    print(
        f"{'':<26} {'speed':>5} {'interval':<14} {'goal':<7} {'memory':>6} {'goal':<7} "
        f"{'MiB':>6} {'theirs':>6}  differ"
    )
    reached = [measure(n, ROWS[n], given.checkout, given.quads) for n in names]
    return int(not all(reached))


if __name__ == "__main__":
    sys.exit(main())
