"""What the columns, flags and badges of a report mean: for tooltips, and as a list."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from sfbench.report.columns import Column
from sfbench.values.flags import FLAGS
from sfbench.values.metrics import metric_of

Entry = tuple[str, str]
"""A term, and what it means."""
MILLI = 1000.0
HEADERS = {
    "px": "resolution in pixels: the side of a square image, or height x width",
    "images/s": "images per second of the core region: mapping and synthesis, latents drawn before; "
    "the median of timed blocks after warm-up",
    "call MiB": "peak memory of a call on a CPU, above the loaded model",
    "process MiB": "peak memory of the whole process on a CPU, Python and torch included",
    "peak MiB": "peak memory that torch's allocator gave to tensors on a GPU",
}
"""Columns that need more than their metric's description."""
BADGES: dict[str, str] = {
    "random": "initial weights, from a seed: the images are noise, and their quality says nothing of "
    "the model",
    "shipped": "small trained weights that come with sfbench",
    "file": "weights of a file, by the digest of its content",
    "no weights": "images that exist already",
    "fp32": "IEEE single precision, in convolutions and matrix products alike",
    "tf32": "single precision whose products are rounded to 10 bits of mantissa, on NVIDIA GPUs",
    "bf16": "half precision with 8 bits of mantissa",
    "fp16": "half precision with 11 bits of mantissa",
    "int8": "linear layers in 8-bit integers",
    "eager": "torch without compilation",
    "compile": "torch.compile in its default mode",
    "compile-reduce-overhead": "torch.compile with CUDA graphs",
    "compile-max-autotune": "torch.compile with autotuned kernels",
    "cuda-graph": "eager kernels, replayed as one CUDA graph",
    "batch": "images per call",
    "trials": "repetitions, each in a new process; intervals are then over trials",
}
TERMS: tuple[Entry, ...] = (
    (
        "95 % interval",
        (
            "of speed, order statistics over the blocks of one process, or a t interval over trials; "
            "of quality, the influence of every image in both sets"
        ),
    ),
    (
        "bold",
        "the best of its column among comparable rows, by intervals that overlap no other's",
    ),
    (
        "comparable",
        (
            "equal resolution, batch size, precision, mode, threads, device and machine; for quality, "
            "also the same extractor, reference and numbers of images"
        ),
    ),
    (
        "FD",
        (
            "Frechet distance of the named extractor's features. Only Inception-v3 with its published "
            "weights may be called FID"
        ),
    ),
    (
        "compare --live",
        "two models in quads of fresh processes, A B B A: the only valid comparison of speed",
    ),
)


def header_text(column: Column) -> str:
    """Return what a column shows."""
    if column.header in HEADERS:
        return HEADERS[column.header]
    if not column.metric:
        return ""
    metric = metric_of(column.metric)
    text = metric.text.replace("seconds", "milliseconds") if column.factor == MILLI else metric.text
    unit = "" if column.factor != 1 or not metric.unit else f", in {metric.unit}"
    better = f"; {metric.better} is better" if metric.better else ""
    return f"{text}{unit}{better}"


def badge_text(badge: str) -> str:
    """Return what a badge says."""
    exact = BADGES.get(badge.removesuffix(" weights"))
    if exact is not None:
        return exact
    words = badge.split()
    return next((BADGES[word] for word in words if word in BADGES), "")


def glossary(
    columns: Iterable[Column], badges: Iterable[str], rows: pd.DataFrame
) -> Sequence[Entry]:
    """Return the terms that a page uses, columns first."""
    entries: dict[str, str] = {}
    for column in columns:
        entries.setdefault(column.title, header_text(column))
    for term, text in TERMS:
        entries.setdefault(term, text)
    for badge in badges:
        key = next((name for name in BADGES if name in badge.split() or badge.startswith(name)), "")
        if key:
            entries.setdefault(key, BADGES[key])
    raised = {flag for flags in rows["flags"] for flag in str(flags or "").split()}
    for flag in FLAGS:
        if flag.name in raised:
            entries.setdefault(flag.name, flag.text)
    return [(term, text) for term, text in entries.items() if text]
