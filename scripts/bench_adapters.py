"""What the adapters of foreign models cost, and what ONNX and torch.compile are worth on this machine.

Part 1: seconds of `synthesize` over those of a bare call: the same onnxruntime session with its
inputs and output bound, the same diffusers pipeline called with the same generators. Part 2:
seconds of one batch of the shipped models in eager torch, compiled, exported and as ONNX. Everything
is interleaved (A, B, B, A); medians of the quads' ratios with their quartiles.

    python scripts/bench_adapters.py [--quads 12] [--batch 8]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch

from sfbench.api import BuildRequest
from sfbench.api.graph_export import exported_program
from sfbench.catalogue.registry import find_generator, load_plugin, plugin_sources

SECONDS = 0.4
"""Least time of one measurement."""


def timed(call: Callable[[], object]) -> float:
    """Return the seconds of one call, of as many as fill `SECONDS`."""
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < SECONDS:
        call()
        count += 1
    return (time.perf_counter() - start) / count


def quartiles(values: list[float]) -> str:
    """Return median and quartiles."""
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.3f} [{low:.3f}, {high:.3f}]"


def ratio(first: Callable[[], object], second: Callable[[], object], quads: int) -> str:
    """Return the seconds of the second over those of the first, interleaved."""
    for call in (first, second):
        call()
        call()
    found = []
    for _ in range(quads):
        a, b, c, d = timed(first), timed(second), timed(second), timed(first)
        found.append((b + c) / (a + d))
    return quartiles(found)


def generator(model: str, resolution: int, options: dict[str, Any]) -> Any:
    """Return a built model."""
    plugins = [load_plugin(source) for source in plugin_sources([], [])]
    _, spec = find_generator(plugins, model)
    values = {option.name: option.default for option in spec.options} | options
    with torch.random.fork_rng(devices=[]):
        return spec.build(BuildRequest(resolution=resolution, options=values))


def bare_session(made: Any, latents: Any) -> Callable[[], object]:
    """Return a call of the adapter's own session with everything bound to the same tensors."""
    session = made.run.session
    binding = session.io_binding()
    inputs = {"z": latents.z} | {f"noise_{i}": one for i, one in enumerate(latents.noise or ())}
    output = torch.empty_like(made.synthesize(latents))
    name = session.get_outputs()[0].name

    def call() -> object:
        for key, one in inputs.items():
            binding.bind_input(key, "cpu", 0, np.float32, list(one.shape), one.data_ptr())
        binding.bind_output(name, "cpu", 0, np.float32, list(output.shape), output.data_ptr())
        session.run_with_iobinding(binding)
        return output

    return call


def pipeline(folder: Path) -> None:
    """Save a small unconditional pipeline of random weights."""
    torch.manual_seed(0)
    network = diffusers.UNet2DModel(
        sample_size=32,
        in_channels=3,
        out_channels=3,
        layers_per_block=1,
        block_out_channels=(32, 64),
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )
    diffusers.DDIMPipeline(network, diffusers.DDIMScheduler()).save_pretrained(folder)


def main() -> None:
    """Print both parts."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quads", type=int, default=12)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--adapters", action="store_true", help="part 1 alone")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"{torch.get_num_threads()} threads, batch {asked.batch}, {asked.quads} quads")
    with torch.inference_mode(), tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for model in ("styleformer", "stylegan2"):
            compared(model, folder, asked)
        pipeline(folder / "pipe")
        made = generator("diffusers", 32, {"folder": str(folder / "pipe"), "steps": 4})
        bare = diffusers.DDIMPipeline.from_pretrained(folder / "pipe")
        bare.set_progress_bar_config(disable=True)
        latents = made.draw_latents(range(asked.batch))

        def by_hand() -> object:
            generators = [torch.Generator().manual_seed(seed) for seed in range(asked.batch)]
            return bare(
                batch_size=asked.batch,
                generator=generators,
                num_inference_steps=4,
                output_type="pt",
            )

        found = ratio(by_hand, lambda: made.synthesize(latents), asked.quads)
        print(f"diffusers adapter over the pipeline called by hand: {found}")


def compared(model: str, folder: Path, asked: argparse.Namespace) -> None:
    """Print what the graph of one model costs, and how fast each way is."""
    from sfbench_onnx.writing import write

    eager = generator(model, 32, {"preset": "nano"})
    path = folder / f"{model}.onnx"
    write(eager, path)
    torch.export.save(exported_program(eager), folder / f"{model}.pt2")
    graph = generator("onnx", 32, {"file": str(path)})
    program = generator("exported", 32, {"file": str(folder / f"{model}.pt2")})
    latents = eager.draw_latents(range(asked.batch))
    bare = bare_session(graph, latents)
    found = ratio(bare, lambda: graph.synthesize(latents), asked.quads)
    print(f"{model}: onnx adapter over a bare session: {found}")
    if asked.adapters:
        return
    compiled = generator(model, 32, {"preset": "nano"})
    compiled.module.compile(dynamic=False)
    ways = {"onnx": graph, "exported": program, "compile": compiled}
    for size in (1, asked.batch):
        inputs = eager.draw_latents(range(size))
        for name, way in ways.items():
            found = ratio(
                lambda inputs=inputs: eager.synthesize(inputs),
                lambda inputs=inputs, way=way: way.synthesize(inputs),
                asked.quads,
            )
            print(f"{model} batch {size}: seconds of {name} over eager: {found}")


if __name__ == "__main__":
    main()
