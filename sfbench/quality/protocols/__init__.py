"""Protocols: how a package computes its numbers, as data; one TOML file each in protocols/."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sfbench.api.errors import UsageError

if TYPE_CHECKING:
    from sfbench.quality.features import Reading
    from sfbench.quality.frechet import Algebra
    from sfbench.quality.inception_score import Division, Order
    from sfbench.quality.kernel import Draws
    from sfbench.quality.neighbors import Ties

FOLDER = Path(__file__).parent
OWN = "sfbench"
AUTO = "auto"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FrechetWay:
    """Divisor N - ddof of the covariance, linear algebra, and the mean's precision."""

    ddof: int
    algebra: Algebra
    mean: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class KernelWay:
    """Subsets and their draws; `least` images, where a package refuses fewer."""

    subsets: int
    subset_size: int
    draws: Draws
    seed: int
    least: int = 2


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ScoreWay:
    """Splits of the Inception Score and the order of samples."""

    splits: int
    order: Order
    division: Division
    ddof: int
    seed: int
    split_size: int | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NeighborsWay:
    """k and the rule for ties of precision, recall, density and coverage.

    `rows`: most images used of a set, a seeded random sample; `equal`: as many of each set.
    """

    k: int
    ties: Ties
    rows: int | None = None
    equal: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """The most images a package uses, from the first on; None: all."""

    generated: int | None = None
    real: int | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class More:
    """Further metrics of a protocol."""

    whole_kernel: bool = False
    single_split: bool = False
    infinity: bool = False
    vendi: bool = False
    authenticity: bool = False
    copies: bool = False
    spatial: bool = False
    cmmd: bool = False
    rbf: bool = False
    monge: bool = False
    sliced: bool = False
    memorization: bool = False
    realism: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """One package's path from images to numbers; None for what it does not measure.

    `reading`: files are read "upright" by their EXIF orientation and with 16-bit gray reduced, or
    as "stored", with what Pillow's conversion to RGB makes of them. `labels`: how the package draws
    classes for images that it generates itself; "given" if it only reads images.
    """

    name: str
    summary: str
    source: str
    extractor: str
    reading: Reading
    quantization: str
    resize: str
    scale: str
    notes: tuple[str, ...]
    frechet: FrechetWay | None = None
    kernel: KernelWay | None = None
    score: ScoreWay | None = None
    neighbors: NeighborsWay | None = None
    more: More = More()  # frozen
    samples: Samples = Samples()  # frozen
    labels: Literal["uniform", "data", "given"] = "given"
    absent: Mapping[str, str] = dataclasses.field(default_factory=dict)
    verify: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    """How far the package itself may be from this card, by measure: absolute, and relative."""


PARTS = {
    "frechet": FrechetWay,
    "kernel": KernelWay,
    "score": ScoreWay,
    "neighbors": NeighborsWay,
    "more": More,
    "samples": Samples,
}


def read_protocol(name: str, flag: str = "--protocol") -> Protocol:
    """Return the protocol of that name; raises UsageError listing the available ones."""
    path = FOLDER / f"{name}.toml"
    if name not in protocol_names():
        every = "all, or " if flag == "--protocol" else ""
        msg = f"{flag} {name}: expected {every}any of {', '.join(protocol_names())}"
        raise UsageError(msg)
    document: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    document["notes"] = tuple(document["notes"])
    document["verify"] = {
        measure: (absolute, relative)
        for measure, (absolute, relative) in document.get("verify", {}).items()
    }
    for part, kind in PARTS.items():
        if part in document:
            document[part] = kind(**document[part])
    return Protocol(**document)


def protocol_names() -> list[str]:
    """Return the names of all protocols, our own first."""
    return sorted((path.stem for path in FOLDER.glob("*.toml")), key=lambda n: (n != OWN, n))


def read_protocols(text: str) -> Sequence[Protocol]:
    """Return the protocols that "all" or names with commas stand for."""
    names = protocol_names() if text == "all" else list(dict.fromkeys(text.split(",")))
    return [read_protocol(name) for name in names]
