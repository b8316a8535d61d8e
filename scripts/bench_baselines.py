"""Time BigGAN and the GANsformer against their authors' code, interleaved, and compare peak memory.

    python scripts/bench_baselines.py [--biggan CHECKOUT] [--gansformer CHECKOUT]
        [--only NAME,NAME] [--quads 8] [--device cuda] [--dtype tf32]

A CHECKOUT is a folder with the authors' PyTorch code (of the GANsformer, its pytorch_version); it is
run and never copied, and what it imports and is not installed is left empty. Both sides get the same
weights, latents and classes (batch 8), in evaluation; noise is the stored one. Ratios as in
bench_models.py. Errors are the largest difference of a pixel from the same images in double precision,
over the largest value. Exits 1 when a goal is missed, or our images are off.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import importlib
import importlib.abc
import importlib.machinery
import json
import subprocess
import sys
import types
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from bench_models import BATCH, MEBI, TOLERANCE, allocated_above, graph_seconds, quads
from torch import Tensor, nn

from reference_models.biggan import BigGAN
from reference_models.biggan_files import config_of
from reference_models.gansformer import Gansformer
from reference_models.gansformer_files import gansformer_config, gansformer_state
from reference_models.spectral_norm import folded
from sfbench.hardware import host
from sfbench.hardware.backend import Backend
from sfbench.hardware.devices import resolve
from sfbench.hardware.policy import set_policy
from sfbench.speed.intervals import median, quantile_interval

OPTIONAL = ("h5py", "cv2", "seaborn", "termcolor", "gdown", "lmdb", "easydict", "tqdm")
Work = Callable[[], Tensor]


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """One model of the table: the authors' arguments, and its goals."""

    title: str
    family: str
    arguments: dict[str, Any]
    speed: float
    memory: float = 0.8


def biggan(resolution: int, **changes: Any) -> dict[str, Any]:
    """Return what the authors' constructor takes."""
    return {"resolution": resolution, "G_kernel_size": 3, "skip_init": True} | changes


def gansformer(resolution: int) -> dict[str, Any]:
    """Return what the authors' constructor takes by `--ganformer-default`."""
    attention = {"transformer": True, "use_pos": True, "num_heads": 1, "attention_dropout": 0.12}
    return {
        "z_dim": 32,
        "c_dim": 0,
        "w_dim": 32,
        "k": 17,
        "img_resolution": resolution,
        "img_channels": 3,
        "mapping_kwargs": attention
        | {"num_layers": 8, "resnet": True, "ltnt2ltnt": True, "ltnt_gate": False},
        "synthesis_kwargs": attention
        | {
            "channel_base": 32768,
            "channel_max": 512,
            "architecture": "resnet",
            "style": True,
            "end_res": 8,
            "integration": "mul",
            "norm": "layer",
            "kmeans": True,
            "kmeans_iters": 1,
            "ltnt_gate": False,
            "img_gate": False,
            "pos_init": "uniform",
            "pos_directions_num": 2,
        },
    }


SHARED = {"G_shared": True, "shared_dim": 128, "hier": True, "n_classes": 1000, "SN_eps": 1e-6}
ROWS = {
    "bg32": Row(
        "BigGAN (CIFAR), 32 px",
        "biggan",
        biggan(32, G_ch=64, dim_z=128, G_attn="0", n_classes=10, G_shared=False, SN_eps=1e-8),
        1.5,
    ),
    "bg128": Row(
        "BigGAN (ImageNet), 128 px",
        "biggan",
        biggan(128, G_ch=96, dim_z=120, G_attn="64", **SHARED),
        1.5,
    ),
    "gf32": Row("GANsformer, 32 px", "gansformer", gansformer(32), 2.0),
    "gf64": Row("GANsformer, 64 px", "gansformer", gansformer(64), 2.0),
}


class Empty(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds packages that are not installed, and leaves them empty."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return a spec for an optional package."""
        del path, target  # the name decides
        if fullname.partition(".")[0] in OPTIONAL:
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        """Return a module that has every attribute."""
        module = types.ModuleType(spec.name)
        module.__getattr__ = lambda _: dict  # type: ignore[method-assign]  # whatever is asked for
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        """Do nothing."""


def theirs(row: Row, checkouts: argparse.Namespace) -> nn.Module:
    """Return the authors' generator with seeded weights."""
    sys.meta_path.append(Empty())
    checkout = str(getattr(checkouts, row.family))
    if checkout not in sys.path:
        sys.path.insert(0, checkout)
    name = "BigGAN" if row.family == "biggan" else "training.networks"
    module = importlib.import_module(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made: nn.Module = module.Generator(**row.arguments)
        for parameter in made.parameters():
            if parameter.ndim > 1 and row.family == "biggan":
                nn.init.normal_(parameter, 0, 0.05)
    return made.eval().requires_grad_(requires_grad=False)


def ours(row: Row, state: dict[str, Tensor]) -> nn.Module:
    """Return our generator with these weights."""
    model: nn.Module
    if row.family == "biggan":
        config = config_of(state, spectral_eps=row.arguments["SN_eps"])
        model = BigGAN(config)
        model.load_state_dict(state)
        model = folded(model)
    else:
        model = Gansformer(gansformer_config(row.arguments))
        model.load_state_dict(gansformer_state(state))
    return model.eval().requires_grad_(requires_grad=False)


def call(row: Row, model: nn.Module, *, own: bool, device: str) -> Work:
    """Return the timed call."""
    source = torch.Generator().manual_seed(0)
    if row.family == "gansformer":
        z = torch.randn(BATCH, row.arguments["k"], row.arguments["z_dim"], generator=source)
        z = z.to(device, next(model.parameters()).dtype)
        if own:
            return lambda: model(z, noise="const")
        return lambda: model(z, None, noise_mode="const")[0]
    width = model.config.drawn if own else model.dim_z
    z = torch.randn(BATCH, width, generator=source).to(device, next(model.parameters()).dtype)
    classes = torch.arange(BATCH, device=device) % row.arguments["n_classes"]
    if own:
        return lambda: model(z, classes)
    embed: Any = model.shared
    return lambda: model(z, embed(classes))


def peak_above_loaded(name: str, given: argparse.Namespace, which: str, backend: Backend) -> int:
    """Return the bytes of the peak above the loaded model, of resident memory in a new process."""
    if backend.peaks() is not None:
        _model, work = prepared(ROWS[name], given, which, backend)
        return allocated_above(work, backend)
    command = [sys.executable, __file__, "--memory", which, "--only", name]
    command += ["--biggan", str(given.biggan), "--gansformer", str(given.gansformer)]
    command += ["--threads", str(given.threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603  # this script
    return int(json.loads(done.stdout.splitlines()[-1]))


def prepared(
    row: Row, given: argparse.Namespace, which: str, backend: Backend
) -> tuple[nn.Module, Work]:
    """Return a model and its timed call."""
    model = theirs(row, given)
    if which == "ours":
        model = ours(row, dict(model.state_dict()))
    model = model.to(backend.name)
    return model, call(row, model, own=which == "ours", device=backend.name)


def memory_child(row: Row, given: argparse.Namespace) -> None:
    """Print the bytes of the peak of resident memory above the loaded model."""
    _model, work = prepared(row, given, given.memory, resolve("cpu"))
    loaded = host.host_memory("VmRSS")
    if loaded is None or not host.reset_host_peak():
        sys.exit("this system cannot reset the peak of resident memory")
    with torch.inference_mode():
        for _ in range(2):
            work()
    print((host.host_memory("VmHWM") or 0) - loaded)


def rounding(own: Tensor, peer: Tensor, exact: Tensor) -> tuple[float, float, float]:
    """Return the error of our images, that of theirs, and how far apart they are."""
    pairs = ((own, exact), (peer, exact), (own, peer))
    scale = exact.abs().max()
    own_error, peer_error, apart = (((a - b).abs().max() / scale).item() for a, b in pairs)
    return own_error, peer_error, apart


def measure(name: str, given: argparse.Namespace, backend: Backend) -> bool:
    """Print a row; return whether its goals are reached."""
    row = ROWS[name]
    (peer, first), (own, second) = (
        prepared(row, given, which, backend) for which in ("theirs", "ours")
    )
    exact = call(row, copy.deepcopy(own).double(), own=True, device=backend.name)
    with torch.inference_mode():
        errors = rounding(second(), first(), exact())
        del exact
        for _ in range(2):
            first(), second()
        times = quads(first, second, given.quads, backend)
        graph = graph_seconds(second, backend)
    del peer, own, first, second
    ratios = [theirs / ours for theirs, ours in times]
    interval = quantile_interval(ratios, 0.5)
    bounds = f"[{interval[0]:.2f}, {interval[1]:.2f}]" if interval else ""
    own_peak, peer_peak = (
        peak_above_loaded(name, given, which, backend) for which in ("ours", "theirs")
    )
    memory = own_peak / peer_peak
    # Both within the tolerance of the exact images are within twice as much of each other.
    allowed = TOLERANCE[given.dtype]
    good = errors[0] <= allowed and errors[2] <= 2 * allowed
    reached = median(ratios) >= row.speed and memory <= row.memory and good
    rates = [BATCH / median([pair[side] for pair in times]) for side in (1, 0)]
    print(
        f"{row.title:<26} {median(ratios):5.2f} {bounds:<14} >= {row.speed:<4g} "
        f"{rates[0]:8.1f} {rates[1]:8.1f} "
        f"{memory:5.2f} <= {row.memory:<5g} {own_peak / MEBI:6.0f} {peer_peak / MEBI:6.0f}  "
        f"{errors[0]:.1e} {errors[1]:.1e}  {'reached' if reached else 'MISSED'}"
        + (f"  {BATCH / graph:8.1f}" if graph else ""),
        flush=True,
    )
    return reached


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description="BigGAN and the GANsformer against their authors'."
    )
    parser.add_argument("--biggan", type=Path)
    parser.add_argument("--gansformer", type=Path)
    parser.add_argument("--only", default=",".join(ROWS))
    parser.add_argument("--quads", type=int, default=8)
    parser.add_argument("--threads", type=int, default=host.cpu_count())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=sorted(TOLERANCE), default="fp32")
    parser.add_argument("--memory", choices=("ours", "theirs"), help="used by the script itself")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    backend = resolve(given.device)
    set_policy(backend, given.dtype, given.threads)
    names = given.only.split(",")
    if given.memory:
        memory_child(ROWS[names[0]], given)
        return 0
    print(
        f"the authors' seconds over ours, {given.quads} ABBA quads, batch {BATCH}, {given.dtype}, "
        f"{given.threads} threads, {backend.processor()}, torch {torch.__version__}"
    )
    print(
        f"{'':<26} {'speed':>5} {'interval':<14} {'goal':<7} {'images/s':>8} {'theirs':>8} "
        f"{'memory':>6} {'goal':<7} {'MiB':>6} {'theirs':>6}  {'error':<7} theirs"
    )
    there = [name for name in names if getattr(given, ROWS[name].family) is not None]
    reached = [measure(name, given, backend) for name in there]
    return int(not all(reached))


if __name__ == "__main__":
    sys.exit(main())
