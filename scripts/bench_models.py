"""Time our models against the official code, interleaved, and compare their peak memory.

    python scripts/bench_models.py CHECKOUT [--only NAME,NAME] [--quads 8]
        [--device cuda] [--dtype tf32]

CHECKOUT is a folder with the official Styleformer code, which holds StyleGAN2 as well; it is run
and never copied. Both get the same weights and the same latents (batch 8), and their images are
compared. Both draw the batch's noise inside the timed call. The speed ratio is the official seconds
over ours, the median of ABBA quads with the order-statistic interval of that median; each part of a
quad is as many calls as fill a tenth of a second. The memory ratio is our peak above the loaded
model over theirs: the allocator's on a GPU, else resident memory, each in a fresh process. On a GPU
the official code uses its own CUDA kernels if they compile here, which the first line says, and a
last column gives images/s of ours as a CUDA graph. Exits 1 when a goal is missed or images differ.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import cpp_extension

from reference_models import official
from reference_models.style_generator import StyleGenerator
from reference_models.styleformer import Styleformer
from reference_models.stylegan2 import StyleGAN2
from sfbench.api.errors import UnsupportedError
from sfbench.hardware import host
from sfbench.hardware.backend import Backend
from sfbench.hardware.devices import find_backend, resolve
from sfbench.hardware.policy import set_policy
from sfbench.speed.blocks import calls_per_block, time_block
from sfbench.speed.intervals import median, quantile_interval

BATCH = 8
LATENT = 512
TOLERANCE = {"fp32": 5e-6, "tf32": 1e-2}
PART_SECONDS = 0.1
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


def official_module(checkout: Path, name: str) -> ModuleType:
    """Import a module of the official code.

    It looks for its compiled kernels by name, where newer versions of torch no longer put them.
    """
    if str(checkout) not in sys.path:
        sys.path.insert(0, str(checkout))
        load = cpp_extension.load

        def named(*arguments: Any, **options: Any) -> Any:
            sys.modules[options["name"]] = built = load(*arguments, **options)
            return built

        cpp_extension.load = named
    return importlib.import_module(name)


def kernels(checkout: Path, backend: Backend) -> str:
    """Return what computes bias, activation and resampling in the official code."""
    modules = [official_module(checkout, f"torch_utils.ops.{n}") for n in ("bias_act", "upfirdn2d")]
    if backend.peaks() is None:
        return "torch's operations"
    done = all([module._init() for module in modules])  # noqa: C419, SLF001  # both, whatever the first says
    return (
        "its own CUDA kernels" if done else "torch's operations (its CUDA kernels did not compile)"
    )


def theirs(row: Row, checkout: Path) -> nn.Module:
    """Return the official generator with its own initial weights, seeded."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made: nn.Module = official_module(checkout, row.module).Generator(**row.arguments)
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
    shapes = [(len(z), *shape) for shape in model.noise_shapes]
    return lambda: model(z, noise=[torch.randn(shape, device=z.device) for shape in shapes])


def latents(backend: Backend) -> Tensor:
    """Return the batch."""
    z = torch.randn(BATCH, LATENT, generator=torch.Generator().manual_seed(0))
    return z.to(backend.name)


def quads(
    peer: Callable[[], object], own: Callable[[], object], count: int, backend: Backend
) -> list[tuple[float, float]]:
    """Return the seconds of a call of each ABBA quad: the peer's, ours."""

    def seconds(work: Callable[[], object], calls: int = 1) -> float:
        return time_block(work, calls, backend).seconds_per_call

    calls = {work: calls_per_block(seconds(work), PART_SECONDS) for work in (peer, own)}
    found = []
    for _ in range(count):
        a, b, c, d = (seconds(work, calls[work]) for work in (peer, own, own, peer))
        found.append(((a + d) / 2, (b + c) / 2))
    return found


def peak_above_loaded(name: str, checkout: Path, which: str, backend: Backend) -> int:
    """Return the bytes of the peak above the loaded model."""
    if backend.peaks() is not None:
        return allocator_peak(ROWS[name], checkout, which, backend)
    command = [sys.executable, __file__, str(checkout), "--memory", which, "--only", name]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603  # this script
    return int(json.loads(done.stdout.splitlines()[-1]))


def allocator_peak(row: Row, checkout: Path, which: str, backend: Backend) -> int:
    """Return the bytes that the allocator gave out at most above the loaded model."""
    model = (theirs(row, checkout) if which == "theirs" else ours(row)).to(backend.name)
    return allocated_above(call(model, latents(backend)), backend)


def allocated_above(work: Callable[[], object], backend: Backend) -> int:
    """Return the bytes that the allocator gave out at most in a second call, above those before it."""
    with torch.inference_mode():
        for _ in range(2):
            backend.reset_peaks()
            loaded = backend.peaks()
            work()
            backend.synchronize()
            most = backend.peaks()
    assert loaded is not None  # noqa: S101  # asked before
    assert most is not None  # noqa: S101
    return most.allocated - loaded.allocated


def memory_child(row: Row, checkout: Path, which: str) -> None:
    """Print the bytes of the peak of resident memory above the loaded model."""
    model = theirs(row, checkout) if which == "theirs" else ours(row)
    if which == "ours":
        official_weights(model)
    z = latents(find_backend("cpu"))
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


def graph_seconds(work: Callable[[], Tensor], backend: Backend) -> float | None:
    """Return the seconds of a call of ours as a graph of the device; None where it has none."""
    try:
        replay, _ = backend.captured(work)
    except UnsupportedError:
        return None
    once = time_block(replay, 8, backend).seconds_per_call
    found = [time_block(replay, calls_per_block(once, PART_SECONDS), backend) for _ in range(8)]
    return median([block.seconds_per_call for block in found])


def measure(name: str, given: argparse.Namespace, backend: Backend) -> bool:
    """Print a row; return whether its goals are reached."""
    row, checkout = ROWS[name], given.checkout
    peer, own = theirs(row, checkout), ours(row)
    own.load_state_dict(official.official_state(dict(peer.state_dict())), strict=True)
    peer, own, z = peer.to(backend.name), own.to(backend.name), latents(backend)
    with torch.inference_mode():
        first, second = call(peer, z), call(own, z)
        expected, got = first(), second()  # noise strengths are 0 before training
        difference = ((got - expected).abs().max() / expected.abs().max()).item()
        for _ in range(3):
            first(), second()
        times = quads(first, second, given.quads, backend)
        graph = graph_seconds(second, backend)
    del peer, own, first, second, expected, got
    ratios = [theirs / ours for theirs, ours in times]
    interval = quantile_interval(ratios, 0.5)
    bounds = f"[{interval[0]:.2f}, {interval[1]:.2f}]" if interval else ""
    own_peak, peer_peak = (
        peak_above_loaded(name, checkout, which, backend) for which in ("ours", "theirs")
    )
    memory = own_peak / peer_peak
    good = difference <= TOLERANCE[given.dtype]
    reached = median(ratios) >= row.speed and memory <= row.memory and good
    rates = [BATCH / median([pair[side] for pair in times]) for side in (1, 0)]
    print(
        f"{row.title:<26} {median(ratios):5.2f} {bounds:<14} >= {row.speed:<4g} "
        f"{rates[0]:8.1f} {rates[1]:8.1f} "
        f"{memory:5.2f} <= {row.memory:<5g} {own_peak / MEBI:6.0f} {peer_peak / MEBI:6.0f}  "
        f"{difference:.0e}  {'reached' if reached else 'MISSED'}"
        + (f"  {BATCH / graph:8.1f}" if graph else ""),
        flush=True,
    )
    return reached


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Our models against the official code.")
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--only", default=",".join(ROWS))
    parser.add_argument("--quads", type=int, default=8)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=sorted(TOLERANCE), default="fp32")
    parser.add_argument("--memory", choices=("ours", "theirs"), help="used by the script itself")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    backend = resolve(given.device)
    set_policy(backend, given.dtype, host.cpu_count())
    names = given.only.split(",")
    if given.memory:
        memory_child(ROWS[names[0]], given.checkout, given.memory)
        return 0
    print(f"the official code uses {kernels(given.checkout, backend)}")
    print(
        f"official seconds over ours, {given.quads} ABBA quads, batch {BATCH}, {given.dtype}, "
        f"{host.cpu_count()} threads, {backend.processor()}, torch {torch.__version__}"
    )
    print(
        f"{'':<26} {'speed':>5} {'interval':<14} {'goal':<7} {'images/s':>8} {'theirs':>8} "
        f"{'memory':>6} {'goal':<7} {'MiB':>6} {'theirs':>6}  differ"
    )
    reached = [measure(name, given, backend) for name in names]
    return int(not all(reached))


if __name__ == "__main__":
    sys.exit(main())
