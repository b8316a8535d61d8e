"""What is asked for and what is measured: every flag and every part of a case, declared once.

`Request` is what was asked, as text: its fields are the flags of `sfbench run` and the keys of a
suite. `Case` is one cell of the grid: its fields are the canonical inputs, the job's JSON, the
columns of reports. A field that both have is handed on as it is. The command that a report prints
for a row, and the repetition of a record, lead back from the one to the other.
"""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from sfbench.values.fields import flag, inputs_of, names, part, read_fields
from sfbench.values.records import digest
from sfbench.values.sizes import Size, size_of
from sfbench.values.timing import (
    BLOCK_SECONDS,
    BLOCKS,
    LATENCY_CALLS,
    NAMES,
    STANDARD_TIMING,
    Timing,
    timing_of,
)

LARGEST_SEED = (1 << 32) - 1
MOST_THREADS = 1024
UNIFORM = "uniform"
"""Labels drawn at random, each class with the same probability."""
Dtype = Literal["fp32", "tf32", "bf16", "fp16", "int8"]
Mode = Literal["eager", "compile", "compile-reduce-overhead", "compile-max-autotune", "cuda-graph"]
Measure = Literal["speed", "memory", "quality", "energy", "min-memory"]
BatchRule = Literal["fixed", "max-fit", "best-throughput"]
DTYPES: tuple[Dtype, ...] = ("fp32", "tf32", "bf16", "fp16", "int8")
MODES: tuple[Mode, ...] = (
    "eager",
    "compile",
    "compile-reduce-overhead",
    "compile-max-autotune",
    "cuda-graph",
)
MEASURES: tuple[Measure, ...] = ("speed", "memory", "quality", "energy", "min-memory")
BATCH_RULES: tuple[BatchRule, ...] = ("max-fit", "best-throughput")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Something a case depends on: a name or kind, its path, and the digest of its content.

    The path is not part of the case's key. `stamp`: by which a later change of its files is seen.
    """

    kind: str
    path: str | None = None
    sha256: str | None = None
    stamp: str | None = None

    def identity(self) -> dict[str, Any]:
        """Return what the source is, without its path."""
        return {"kind": self.kind, "sha256": self.sha256}

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Source:
        """Return the source that JSON of all its fields holds."""
        return cls(**document)


def weights_words(kind: str) -> str:
    """Return what weights are of a kind: random, shipped, file, or none at all.

    The kind `option` is a file that an option names.
    """
    words = {"none": "no weights", "option": "file weights"}
    return words.get(kind, f"{kind} weights")


def plain(value: Any) -> Any:
    """Return a value as JSON holds it: tuples as lists."""
    return list(value) if isinstance(value, tuple) else value


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What was asked, as text: from flags, or from one [[run]] table of a suite file."""

    model: str = flag(
        dataclasses.MISSING,
        panel="Model",
        help="Models to measure, NAME[,NAME]; a NAME may be KIND:PATH; see sfbench list.",
    )
    res: str = flag(
        "32",
        panel="Case",
        help="Resolutions in pixels: 32,64 or from:to*factor, e.g. 32:256*2; 48x64 is H x W.",
    )
    batch: str = flag(
        "8",
        panel="Case",
        help="Batch sizes, N[,N]; also max-fit (the largest that runs) and best-throughput.",
    )
    dtype: str = flag(
        "fp32",
        panel="Case",
        help=f"Precisions, P[,P]: {', '.join(DTYPES)} (fp32 is IEEE single precision everywhere).",
    )
    mode: str = flag(
        "eager",
        panel="Case",
        help="Execution modes, M[,M]: eager; compile (torch.compile), compile-reduce-overhead (with "
        "CUDA graphs), compile-max-autotune (tuned kernels); cuda-graph (eager kernels as one graph).",
    )
    device: str = flag(
        "auto", panel="Case", help="Device: auto, cpu, cuda, mps; cuda:1 names one of several."
    )
    data: str = flag(
        "shapes",
        panel="Images and quality",
        help="Real images: shapes, or a file or folder of images.",
    )
    measure: str = flag(
        "speed,memory,quality",
        panel="Case",
        help="What to measure, M[,M]: speed, memory, quality, energy (needs counters), min-memory "
        "(a search).",
    )
    extractor: str = flag(
        "auto", panel="Images and quality", help="Feature extractor; see sfbench list extractors."
    )
    extractor_weights: str = flag(
        "auto",
        panel="Images and quality",
        help="Weights of the extractor: auto, download, or a file.",
    )
    option: tuple[str, ...] = flag(
        (), panel="Model", help="Option of the model, NAME=VALUE; may be repeated."
    )
    sweep: tuple[str, ...] = flag(
        (),
        panel="Model",
        help="Values of an option, each measured: NAME=V1,V2 or NAME=LOW:HIGH*FACTOR; may be repeated.",
    )
    weights: str = flag(
        "auto", panel="Model", help="Weights: auto, random, a file, or MODEL=FILE[,MODEL=FILE]."
    )
    train_kimg: float | None = flag(
        None, panel="Model", help="Train models that have no weights for N kimg first."
    )
    samples: int | None = flag(
        None,
        panel="Images and quality",
        help="Images per set for quality [default: on a CPU 512 with cifar-cnn7, else 128; "
        "on a GPU 50000, 1024 of shapes].",
        least=2,
    )
    seed: int = flag(
        0,
        panel="Model",
        help="Seed for initial weights and for the first latent.",
        least=0,
        most=LARGEST_SEED,
    )
    labels: str = flag(
        UNIFORM,
        panel="Images and quality",
        help="Labels of generated images for quality: uniform, balanced, data, or class:N.",
    )
    threads: int | None = flag(
        None, panel="Case", help="CPU threads [default: all].", least=1, most=MOST_THREADS
    )
    warmup_seconds: float | None = flag(
        None,
        panel="Timing",
        help="Least seconds of warm-up before each timed pass [default: CPU 1, GPU 2].",
    )
    blocks: int | None = flag(
        None, panel="Timing", help=f"Timed blocks of each region [default: {BLOCKS}]."
    )
    block_seconds: float | None = flag(
        None, panel="Timing", help=f"Least seconds of a block [default: {BLOCK_SECONDS}]."
    )
    latency_calls: int | None = flag(
        None, panel="Timing", help=f"Calls in the latency pass [default: {LATENCY_CALLS}]."
    )
    trust: bool = flag(
        default=False,
        panel="Model",
        help="Load models whose files can run code, such as TorchScript.",
        suites=False,
    )

    def timing(self) -> Timing:
        """Return the timing settings; raises UsageError for an invalid duration or count."""
        return timing_of(**{name: getattr(self, name) for name in NAMES})

    def words(self) -> Iterator[str]:
        """Yield the non-default flags, each with its value."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value == field.default:
                continue
            if value is True:
                yield f"--{field.name}"
                continue
            for one in value if isinstance(value, tuple) else (value,):
                yield f"--{field.name.replace('_', '-')}"
                yield flag_text(one)

    def command(self) -> str:
        """Return the command line of this request."""
        return shlex.join(["sfbench", "run", *self.words()])


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One cell of the grid: everything that decides what is measured.

    If `batch_rule` is not "fixed", `batch` is found by measuring and is not part of the key.
    `option_sources`: digests of the content of options that are files. `train_kimg`: what to train
    before, where there are no weights; no trial sees such a case.
    """

    model: str = part("headline", "images", "training")
    resolution: int = part("headline", "images", "training")
    width: int | None = part("headline", "images", "training", default=None)
    options: Mapping[str, Any] = part(
        "images",
        "training",
        read=lambda found: {k: tuple(v) if isinstance(v, list) else v for k, v in found.items()},
    )
    option_sources: tuple[tuple[str, str], ...] = part(
        default=(), role="hidden", read=lambda found: tuple(tuple(pair) for pair in found)
    )
    weights: Source = part("images", stored=Source.identity, read=Source.read)
    batch: int = part("headline")
    batch_rule: BatchRule = part(default="fixed", omitted=False)
    dtype: Dtype = part("headline", "images")
    mode: Mode = part("headline", "images")
    device: str = part("headline", "images", "training", "local")
    data: Source = part(
        "training", "local", role="quality", stored=Source.identity, read=Source.read
    )
    extractor: Source = part("local", role="quality", stored=Source.identity, read=Source.read)
    measure: tuple[Measure, ...] = part(stored=list, read=tuple)
    samples: int = part("local", role="quality")
    seed: int = part("column", "images", "training")
    labels: str = part("column", role="quality", default=UNIFORM)
    threads: int = part("column", "local")
    train_kimg: float | None = part(default=None, role="hidden")
    timing: Timing = part(
        default=STANDARD_TIMING,
        role="speed",
        stored=Timing.changed,
        read=lambda found: Timing(**found),
    )

    def inputs(self) -> dict[str, Any]:
        """Return the canonical inputs: equal inputs mean the same measurement."""
        found = dict(inputs_of(self, self.measure))
        # A file is what its content is.
        contents = dict(self.option_sources)
        found["options"] = {k: contents.get(k, plain(v)) for k, v in self.options.items()}
        return found

    def key(self) -> str:
        """Return the digest of the canonical inputs."""
        inputs = self.inputs()
        if self.batch_rule != "fixed":
            inputs["batch"] = None
        if self.train_kimg is not None:
            inputs["train_kimg"] = self.train_kimg
        return digest(inputs)

    @property
    def size(self) -> Size:
        """Height and width of the images."""
        return Size(self.resolution, self.width or self.resolution)

    def title(self) -> str:
        """Return the case in a few words."""
        batch = self.batch if self.batch_rule == "fixed" else f" {self.batch_rule}"
        return f"{self.model} {self.size}px b{batch} {self.dtype} {self.mode}"


def key_of(case: Mapping[str, Any]) -> str:
    """Return the key of a stored case."""
    inputs = {name: value for name, value in case.items() if name != "files"}
    if inputs.get("batch_rule", "fixed") != "fixed":
        inputs["batch"] = None
    return digest(inputs)


COLUMNS = names(Case, "column", "headline")
"""Parts of a case that are columns of a report."""
SETTINGS = names(Case, "column")
"""Columns in which rows of one title may differ."""
MADE = {
    "res",
    "batch",
    "data",
    "measure",
    "option",
    "sweep",
    "weights",
    "extractor",
    "extractor_weights",
}
"""Flags that a case does not have as they are."""
HANDED_ON = tuple(name for name in names(Case) if name in {*names(Request)} - MADE)
"""Fields that a case has from its request, and a printed command from its case, as they are."""


def case_from(document: Mapping[str, Any]) -> Case:
    """Return the case that JSON of all its fields holds (see `dataclasses.asdict`)."""
    return Case(**read_fields(Case, document))


def request_of(case: Mapping[str, Any], defaults: Mapping[str, Any] | None = None) -> Request:
    """Return the request that reproduces a stored case.

    `defaults`: the model's default option values, which are left out. Files are given by name:
    their folder is not stored, and older records lack the names of options' files.
    """
    files = case.get("files", {})
    ordinary = {"preset": None} if defaults is None else defaults
    referred = case["model"].partition(":")[2]
    options = tuple(
        f"{name}={files.get(f'option.{name}', flag_text(value))}"
        for name, value in sorted(case["options"].items())
        if value is not None
        and value != ordinary.get(name)
        and not (referred and files.get(f"option.{name}") == referred)
    )
    rule = case.get("batch_rule", "fixed")  # older records have none
    given = {name: case[name] for name in HANDED_ON if name in case}
    return Request(
        **given
        | case.get("timing", {})
        | {
            "res": str(size_of(case)),
            "batch": str(case["batch"]) if rule == "fixed" else rule,
            "data": source_text(case.get("data"), files.get("data"), "shapes"),
            "measure": ",".join(case["measure"]),
            "option": options,
            "weights": {"random": "random", "shipped": "auto"}.get(
                case["weights"]["kind"], files.get("weights", "auto")
            ),
            "extractor": str((case.get("extractor") or {"kind": "auto"})["kind"]),
            "extractor_weights": files.get("extractor", "auto"),
        }
    )


def source_text(source: Mapping[str, Any] | None, file: str | None, built_in: str) -> str:
    """Return the flag value that names a source: its file, or a built-in name."""
    return built_in if source is None or source.get("sha256") is None else file or built_in


def flag_text(value: Any) -> str:
    """Return a value as a flag would give it: lists with commas."""
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
