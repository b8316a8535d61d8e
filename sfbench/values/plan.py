"""What is asked for: a Plan of Cases. Values only; nothing here touches a device."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from sfbench.api.errors import UsageError
from sfbench.values.records import digest
from sfbench.values.timing import STANDARD_TIMING, Timing

Dtype = Literal["fp32", "tf32", "bf16", "fp16"]
Mode = Literal["eager", "compile", "compile-reduce-overhead", "compile-max-autotune", "cuda-graph"]
Measure = Literal["speed", "memory", "quality", "energy", "min-memory"]
BatchRule = Literal["fixed", "max-fit", "best-throughput"]
DTYPES: tuple[Dtype, ...] = ("fp32", "tf32", "bf16", "fp16")
MODES: tuple[Mode, ...] = (
    "eager",
    "compile",
    "compile-reduce-overhead",
    "compile-max-autotune",
    "cuda-graph",
)
MEASURES: tuple[Measure, ...] = ("speed", "memory", "quality", "energy", "min-memory")
BATCH_RULES: tuple[BatchRule, ...] = ("max-fit", "best-throughput")
LARGEST_RESOLUTION = 8192


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Something a case depends on: a name or kind, where it lies, and the digest of its content.

    The path is where it was found, not what it is: it takes no part in the case's key.
    """

    kind: str
    path: str | None = None
    sha256: str | None = None

    def identity(self) -> dict[str, Any]:
        """Return what the source is, without where it lies."""
        return {"kind": self.kind, "sha256": self.sha256}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One cell of the grid: everything that decides what is measured.

    Where `batch_rule` is not "fixed", `batch` is found by measuring, and takes no part in the key.
    `train_kimg`: what to train before, where there are no weights; no trial sees such a case.
    """

    model: str
    resolution: int
    options: Mapping[str, Any]
    option_sources: tuple[tuple[str, str], ...] = ()
    weights: Source
    batch: int
    batch_rule: BatchRule = "fixed"
    dtype: Dtype
    mode: Mode
    device: str
    data: Source
    extractor: Source
    measure: tuple[Measure, ...]
    samples: int
    seed: int
    threads: int
    train_kimg: float | None = None
    timing: Timing = STANDARD_TIMING

    def inputs(self) -> dict[str, Any]:
        """Return the canonical inputs: equal inputs mean the same measurement."""
        fields = {name: getattr(self, name) for name in CASE_FIELDS}
        paths = dict(self.option_sources)
        fields["options"] = {
            name: paths.get(name, list(value) if isinstance(value, tuple) else value)
            for name, value in self.options.items()
        }
        quality = "quality" in self.measure
        fields["data"] = self.data.identity() if quality else None
        fields["extractor"] = self.extractor.identity() if quality else None
        fields["samples"] = self.samples if quality else None
        fields["weights"] = self.weights.identity()
        fields["measure"] = list(self.measure)
        if not self.timing.is_protocol and self.measure != ("quality",):
            fields["timing"] = self.timing.changed()
        return fields

    def key(self) -> str:
        """Return the digest of the canonical inputs."""
        inputs = self.inputs()
        if self.batch_rule != "fixed":
            inputs["batch"] = None
        if self.train_kimg is not None:
            inputs["train_kimg"] = self.train_kimg
        return digest(inputs)

    def title(self) -> str:
        """Return the case in a few words."""
        batch = self.batch if self.batch_rule == "fixed" else f" {self.batch_rule}"
        return f"{self.model} {self.resolution}px b{batch} {self.dtype} {self.mode}"


CASE_FIELDS = (
    "model",
    "resolution",
    "batch",
    "batch_rule",
    "dtype",
    "mode",
    "device",
    "seed",
    "threads",
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Cases, how many fresh processes measure each, and how long one may take."""

    cases: tuple[Case, ...]
    trials: int = 1
    timeout_seconds: float = 3600.0


def flag_text(value: Any) -> str:
    """Return a value as a flag would give it: lists with commas."""
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def parse_resolutions(text: str) -> tuple[int, ...]:
    """Return the sides that "32,64" or "32:256*2" (from:to*factor) stand for.

    Raises UsageError for anything else.
    """
    sides: list[int] = []
    for part in text.split(","):
        sides += _range(part) if ":" in part else [_side(part, part)]
    return tuple(dict.fromkeys(sides))


def _range(part: str) -> list[int]:
    first, _, rest = part.partition(":")
    last, star, factor = rest.partition("*")
    start, stop = _side(first, part), _side(last, part)
    step = _side(factor, part) if star else 2
    if step < 2 or stop < start:  # noqa: PLR2004  # a factor of 1 would never arrive
        msg = f"resolution {part}: expected FROM:TO*FACTOR with TO >= FROM and FACTOR >= 2"
        raise UsageError(msg)
    sides = [start]
    while sides[-1] * step <= stop:
        sides.append(sides[-1] * step)
    return sides


def _side(text: str, part: str) -> int:
    if not text.strip().isdecimal() or not 1 <= int(text) <= LARGEST_RESOLUTION:
        msg = f"resolution {part!r}: expected pixels, e.g. 32, or 32,64, or 32:256*2"
        raise UsageError(msg)
    return int(text)
