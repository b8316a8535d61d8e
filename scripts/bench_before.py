"""Time the models beside an earlier commit of themselves, and against the processor's roof.

    python scripts/bench_before.py [BEFORE] [--only NAME:BATCH,...] [--quads 8]

A NAME that ends in -native stands for the present model with its own kernels, beside the earlier one.

BEFORE is a folder with that commit (`git worktree add BEFORE COMMIT`); without it only the roof is
compared with. Both get the same weights and latents, in fp32 on all processors. The ratio is the
earlier seconds over the present ones, the median of ABBA quads with the order-statistic interval of
that median; a part of a quad is as many calls as fill a third of a second. The share of the roof is
counted operations over the time and over the rate of a large matrix product, measured anew before
each row. The peaks are resident memory above the loaded model, each in a fresh process.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from sfbench.hardware import host
from sfbench.hardware.devices import find_backend
from sfbench.hardware.policy import set_policy
from sfbench.speed.blocks import calls_per_block, time_block
from sfbench.speed.intervals import median, quantile_interval
from sfbench.speed.operations import Counter
from sfbench.speed.roofline import measured_roofline

HERE = Path(__file__).parents[1]
PART_SECONDS = 0.3
MEBI = 1 << 20
BACKEND = find_backend("cpu")
CASES = (
    *("s-32:1", "s-32:8", "full-64:1"),
    *(f"linformer-{side}:{batch}" for side in (64, 128, 256) for batch in (1, 8)),
    "linformer-512:1",
    *("s-32-native:1", "linformer-128-native:1", "linformer-512-native:1"),
    *("linformer-256-native:1", "linformer-256-native:8"),
    *(f"stylegan2-{side}:1" for side in (32, 64, 128, 256)),
)


def modules_of(root: Path) -> Callable[[str], ModuleType]:
    """Return what imports a module of the reference models of a checkout, whichever was before."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "reference_models"]:
        del sys.modules[name]
    sys.path.insert(0, str(root))
    importlib.invalidate_caches()
    return lambda name: importlib.import_module(f"reference_models.{name}")


def made(root: Path, name: str, *, meta: bool = False) -> nn.Module:
    """Return a model of a checkout with drawn weights, or without any on the meta device."""
    module = modules_of(root)
    kind, side, *native = name.split("-")
    try:
        with torch.device("meta" if meta else "cpu"):
            model: nn.Module = network(module, kind, int(side))
            use_native = module("native").use_native if native and root == HERE else None
    finally:
        sys.path.remove(str(root))
    model.eval().requires_grad_(requires_grad=False)
    if not meta:
        module("equalized").initialize(model, torch.Generator().manual_seed(0))
        if use_native is not None:
            use_native(model)
    return model


def network(module: Callable[[str], ModuleType], kind: str, side: int) -> nn.Module:
    """Return the network of that kind and resolution, in the published sizes."""
    made: nn.Module
    if kind == "stylegan2":
        stylegan2 = module("stylegan2")
        made = stylegan2.StyleGAN2(stylegan2.StyleGAN2Config(resolution=side))
        return made
    presets, config = module("presets"), module("styleformer_config")
    linformer = kind == "linformer"
    sizes = (
        presets.preset("readme-example")
        if kind == "s"
        else presets.by_resolution(side, linformer=linformer)
    )
    made = module("styleformer").Styleformer(
        config.StyleformerConfig(widths=sizes.widths, layers=sizes.layers, linformer=linformer)
    )
    return made


def latents(model: Any, batch: int, device: str = "cpu") -> Tensor:
    """Return the batch."""
    shape = (batch, *model.latent_shape)
    if device == "meta":
        return torch.empty(shape, device=device)
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def operations(name: str) -> int:
    """Return the operations of an image."""
    model = made(HERE, name, meta=True)
    with torch.no_grad(), Counter() as counter:
        model(latents(model, 1, "meta"))
    return counter.total


def peak(root: Path, case: str) -> float:
    """Return the mebibytes of the peak above the loaded model, from a fresh process."""
    command = [sys.executable, __file__, str(root), "--memory", "--only", case]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603  # this script
    return float(json.loads(done.stdout.splitlines()[-1])) / MEBI


def memory_child(root: Path, case: str) -> None:
    """Print the bytes of the peak above the loaded model."""
    name, batch = case.split(":")
    model = made(root, name)
    z = latents(model, int(batch))
    loaded = host.host_memory("VmRSS")
    if loaded is None or not host.reset_host_peak():
        sys.exit("this system cannot reset the peak of resident memory")
    with torch.inference_mode():
        for _ in range(2):
            model(z)
    print((host.host_memory("VmHWM") or 0) - loaded)


def seconds(model: nn.Module, z: Tensor, calls: int) -> float:
    """Return the seconds of a call."""
    return time_block(lambda: model(z), calls, BACKEND).seconds_per_call


def measure(before: Path | None, case: str, quads: int) -> None:
    """Print a row."""
    name, batch = case.split(":")
    present = made(HERE, name)
    earlier = present if before is None else made(before, name)
    z = latents(present, int(batch))
    roof = measured_roofline(BACKEND, torch.float32).flops
    with torch.inference_mode():
        expected, found = earlier(z), present(z)
        difference = ((found - expected).abs().max() / expected.abs().max()).item()
        sides = (earlier, present)
        calls = [calls_per_block(seconds(side, z, 1), PART_SECONDS) for side in sides]
        times: list[tuple[float, float]] = []
        for _ in range(quads):
            a, b, c, d = (seconds(sides[i], z, calls[i]) for i in (0, 1, 1, 0))
            times.append(((a + d) / 2, (b + c) / 2))
    now = median([ours for _, ours in times])
    share = operations(name) * int(batch) / now / roof
    row = f"{case:<18} {now * 1e3:9.1f} {share:6.2f}"
    if before is not None:
        ratios = [theirs / ours for theirs, ours in times]
        interval = quantile_interval(ratios, 0.5)
        bounds = f"[{interval[0]:.2f}, {interval[1]:.2f}]" if interval else ""
        row += f" {median(ratios):6.2f} {bounds:<14} {difference:.0e} {peak(before, case):7.0f}"
    print(f"{row} {peak(HERE, case):7.0f}", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("before", type=Path, nargs="?")
    parser.add_argument("--only", default=",".join(CASES))
    parser.add_argument("--quads", type=int, default=8)
    parser.add_argument("--memory", action="store_true", help="used by the script itself")
    given = parser.parse_args()
    set_policy(BACKEND, "fp32", host.cpu_count())
    if given.memory:
        memory_child(given.before, given.only)
        return
    print(f"{BACKEND.processor()}, {host.cpu_count()} threads, torch {torch.__version__}")
    earlier = " faster interval      differ  before" if given.before else ""
    print(f"{'model-side:batch':<18} {'ms':>9} {'roof':>6}{earlier}     MiB")
    for case in given.only.split(","):
        measure(given.before, case, given.quads)


if __name__ == "__main__":
    main()
