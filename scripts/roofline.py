"""Draw how near each model comes to the processor's roof: docs/roofline.svg, and a table.

    python scripts/roofline.py [--figure FILE.svg] [--rows FILE.csv] [--batch 1]
        [--res 32,64,128,256] [--device cpu]

Each model in its published sizes with random weights, in fp32: counted operations of an image over
its seconds, as a share of the rate of a large matrix product, measured anew before each block of calls.
A block is as many calls as fill half a second; the median is shown. More than 1 is possible where
an algorithm needs fewer operations than are counted (Winograd). Rows that FILE.csv has are not
measured again.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd
import torch

from sfbench.api import BuildRequest
from sfbench.api.protocols import ImageGenerator
from sfbench.api.spec import GeneratorSpec
from sfbench.catalogue.registry import find_generator, load_plugin, plugin_sources
from sfbench.hardware import host
from sfbench.hardware.backend import Backend
from sfbench.hardware.devices import resolve
from sfbench.hardware.policy import set_policy
from sfbench.speed.blocks import calls_per_block, time_block
from sfbench.speed.intervals import median
from sfbench.speed.operations import Counter
from sfbench.speed.roofline import fastest

NATIVE = "styleformer-linformer, native"
MODELS = {
    "styleformer": {},
    "styleformer-linformer": {},
    NATIVE: {"kernels": "native"},
    "stylegan2": {},
    "biggan": {},
    "biggan-deep": {},
    "gansformer": {},
}
COLORS = ["#0072B2", "#D55E00", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"]
BLOCK_SECONDS = 0.5
BLOCKS = 5
LONG_SECONDS = 5.0
"""A call that takes longer is timed once, after two to warm up."""


def spec_of(name: str) -> tuple[GeneratorSpec, dict[str, Any]]:
    """Return a model and its options."""
    plugins = [load_plugin(source) for source in plugin_sources([], [])]
    _, spec = find_generator(plugins, name.partition(",")[0])
    return spec, {option.name: option.default for option in spec.options} | MODELS[name]


def made(name: str, side: int, device: str) -> ImageGenerator:
    """Return the generator on a device."""
    spec, options = spec_of(name)
    return spec.build(BuildRequest(resolution=side, options=options, device=device))


def operations(name: str, side: int) -> int:
    """Return the operations of an image."""
    generator = made(name, side, "meta")
    latents = generator.draw_latents([0])
    with torch.no_grad(), Counter() as counter:
        generator.synthesize(latents)
    return counter.total


def row(name: str, side: int, batch: int, backend: Backend) -> dict[str, Any]:
    """Return a row of the table."""
    generator = made(name, side, backend.name)
    latents = generator.draw_latents(range(batch))
    flops = operations(name, side) * batch
    found: list[tuple[float, float]] = []
    side_of_roof = backend.roof_side
    square = torch.randn(side_of_roof, side_of_roof, device=backend.name)
    product = functools.partial(torch.mm, square, square)

    def work() -> object:
        return generator.synthesize(latents)

    with torch.inference_mode():
        once = [time_block(work, 1, backend).seconds_per_call for _ in range(2)][-1]
        calls = calls_per_block(once, BLOCK_SECONDS)
        for _ in range(1 if once > LONG_SECONDS else BLOCKS):
            roof = 2 * side_of_roof**3 / fastest(product, backend)
            found.append((time_block(work, calls, backend).seconds_per_call, roof))
    return {
        "model": name,
        "px": side,
        "ms": median([seconds for seconds, _ in found]) * 1e3,
        "GFLOP": flops / 1e9,
        "roof GFLOP/s": median([roof for _, roof in found]) / 1e9,
        "share": median([flops / seconds / roof for seconds, roof in found]),
    }


def rows(
    sides: list[int], batch: int, backend: Backend, known: pd.DataFrame
) -> Iterator[dict[str, Any]]:
    """Yield the rows that are not known, and print each."""
    print(f"{'model':<30} {'px':>4} {'ms':>10} {'GFLOP':>8} {'roof':>6} {'share':>6}")
    there = set(zip(known.get("model", ()), known.get("px", ()), strict=True))
    for name in MODELS:
        spec, _ = spec_of(name)
        for side in sides:
            if side not in spec.resolutions or (name, side) in there:
                continue
            found = row(name, side, batch, backend)
            print(
                f"{name:<30} {side:4} {found['ms']:10.2f} {found['GFLOP']:8.2f} "
                f"{found['roof GFLOP/s']:6.0f} {found['share']:6.2f}",
                flush=True,
            )
            yield found


def chart(found: pd.DataFrame, title: str) -> alt.Chart:
    """Return the figure: share of the roof over resolution, one line a model."""
    names = list(MODELS)
    color = alt.Color(
        "model:N", scale=alt.Scale(domain=names, range=COLORS), legend=alt.Legend(title=None)
    )
    dash = alt.StrokeDash(
        "model:N",
        scale=alt.Scale(domain=names, range=[[4, 3] if n == NATIVE else [1, 0] for n in names]),
        legend=None,
    )
    base = alt.Chart(found).encode(
        x=alt.X(
            "px:Q",
            scale=alt.Scale(type="log", base=2, nice=False),
            axis=alt.Axis(values=sorted(set(found["px"])), title="resolution (px)", format="d"),
        ),
        y=alt.Y("share:Q", title="share of the measured roof", scale=alt.Scale(zero=True)),
        color=color,
    )
    lines = base.mark_line(strokeWidth=2).encode(strokeDash=dash)
    drawn: alt.Chart = (lines + base.mark_point(filled=True, size=40)).properties(
        width=460, height=280, title=title
    )
    return drawn


def main() -> None:
    """Print the table and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--rows", type=Path)
    parser.add_argument("--res", default="32,64,128,256")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    backend = resolve(given.device)
    set_policy(backend, "fp32", host.cpu_count())
    about = f"{backend.processor()}, {host.cpu_count()} threads, torch {torch.__version__}"
    print(f"batch {given.batch}, fp32, {about}", file=sys.stderr)
    kept: Path | None = given.rows
    found = pd.read_csv(kept) if kept is not None and kept.exists() else pd.DataFrame()
    for one in rows([int(s) for s in given.res.split(",")], given.batch, backend, found):
        found = pd.concat([found, pd.DataFrame([one])], ignore_index=True)
        if kept is not None:
            found.to_csv(kept, index=False)
    if given.figure is not None:
        title = f"batch {given.batch}, fp32, {about.partition(', torch')[0]}"
        chart(found, title).save(given.figure)


if __name__ == "__main__":
    main()
