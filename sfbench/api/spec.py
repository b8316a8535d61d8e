"""What a plugin offers: a `GeneratorSpec` per model, a `CheckpointCard` per checkpoint.

Values only: creating them is free, and importing this module never imports torch.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sfbench.api.errors import UnsupportedError, UsageError

if TYPE_CHECKING:
    from sfbench.api.learning import Learner
    from sfbench.api.protocols import FeatureExtractor, ImageGenerator

OptionValue = int | float | str | bool | tuple[int, ...] | None
OptionKind = Literal["int", "float", "str", "bool", "ints", "path", "images", "code"]
PATHS = frozenset({"path", "images"})
"""Kinds of options that name a file or folder."""
DIGESTED = PATHS | {"code"}
"""Kinds of options whose content counts, not their text."""
CODE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
TRUE_WORDS = frozenset({"1", "true", "yes", "on"})
FALSE_WORDS = frozenset({"0", "false", "no", "off"})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option of a model: `--option NAME=VALUE`; default `None` means "decided by the model".

    A "path" names a file or folder, "images" a folder or zip file of images, "code" a function or
    class of an installed module, as package.module:name; its content decides what is measured: the
    case holds its digest. It must be given unless the default is "".
    `least`, `most`: bounds of a number, or of each of several; `above`: what it must exceed.
    `weights`: what it names are the model's weights; raises ValueError for kinds other than "path"
    and "code".
    """

    name: str
    kind: OptionKind
    help: str
    default: OptionValue = None
    choices: tuple[str, ...] = ()
    weights: bool = False
    least: float | None = None
    most: float | None = None
    above: float | None = None

    def __post_init__(self) -> None:
        """Check that the parts fit together."""
        if self.weights and self.kind not in {"path", "code"}:
            msg = f"option {self.name}: weights are named by a path or code, not by {self.kind}"
            raise ValueError(msg)

    def parse(self, text: str) -> OptionValue:
        """Return the value that `text` stands for; raises UsageError for invalid text."""
        try:
            return self._parse(text)
        except ValueError:
            expected = {
                "ints": "whole numbers separated by commas",
                "bool": "true or false",
                "code": "package.module:name",
            }
            msg = f"option {self.name}={text}: expected {expected.get(self.kind, self.kind)}"
            raise UsageError(msg) from None

    def _parse(self, text: str) -> OptionValue:
        if self.kind == "str" and self.choices and text not in self.choices:
            msg = f"option {self.name}={text}: expected one of {', '.join(self.choices)}"
            raise UsageError(msg)
        value = READERS[self.kind](text)
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, int | float) and not self.within(one):
                msg = f"option {self.name}={text}: expected {self.bounds()}"
                raise UsageError(msg)
        return value

    def within(self, value: float) -> bool:
        """Return whether a number is within the bounds."""
        return (
            (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
            and (self.above is None or value > self.above)
        )

    def bounds(self) -> str:
        """Return the bounds in words."""
        parts = []
        if self.above is not None:
            parts.append(f"a number above {self.above:g}")
        if self.least is not None:
            parts.append(f"{self.least:g} or more")
        if self.most is not None:
            parts.append(f"at most {self.most:g}")
        return ", ".join(parts)


def finite(text: str) -> float:
    """Return a number; raises ValueError for NaN and infinity."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError
    return number


def yes_or_no(text: str) -> bool:
    """Return true or false; raises ValueError for another word."""
    word = text.lower()
    if word not in TRUE_WORDS | FALSE_WORDS:
        raise ValueError
    return word in TRUE_WORDS


def path_text(text: str) -> str:
    """Return a path with "~" replaced by the home; "" stays what it is."""
    try:
        return str(Path(text).expanduser()) if text else ""
    except RuntimeError:  # the home of nobody: a name that begins with "~"
        return text


def code_text(text: str) -> str:
    """Return a name package.module:name; raises ValueError for anything else but ""."""
    if text and not CODE.fullmatch(text):
        raise ValueError
    return text


READERS: Mapping[OptionKind, Callable[[str], OptionValue]] = {
    "int": int,
    "float": finite,
    "ints": lambda text: tuple(int(part) for part in text.split(",")),
    "bool": yes_or_no,
    "path": path_text,
    "images": path_text,
    "code": code_text,
    "str": str,
}
"""What reads the text of an option of each kind."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """What the harness asks a plugin to build.

    Images are `resolution` pixels high, and as wide unless `width` is given.
    `device` and `dtype` are torch names ("cpu", "cuda", "meta"; "float32", "bfloat16", "float16", and
    "qint8" for 8-bit linear layers, see `sfbench.api.precision`):
    a plugin never chooses a device itself. `seed` fixes random initial weights. `options` holds
    every option of the spec, defaults filled in. `weights` is a local file or folder, or None.
    """

    resolution: int
    width: int | None = None
    options: Mapping[str, OptionValue] = dataclasses.field(default_factory=dict)
    weights: Path | None = None
    seed: int = 0
    device: str = "cpu"
    dtype: str = "float32"


def check_size(where: str, height: int, width: int, request: BuildRequest) -> None:
    """Raise UnsupportedError, with the right size, where a model makes images of another one."""
    if (height, width) != (request.resolution, request.width or request.resolution):
        size = str(height) if height == width else f"{height}x{width}"
        msg = f"{where} makes images of {height}x{width} px: use --res {size}"
        raise UnsupportedError(msg)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LearnRequest:
    """What the harness asks a plugin to train.

    `build`: the initial generator, with weights if training starts from them.
    `settings` holds every setting of the spec. `batch`: images per step; `shard`: how many of
    them a process handles at once. `compiled`: use torch.compile. `autocast`: the
    reduced-precision type, as torch's name, or None.
    """

    build: BuildRequest
    settings: Mapping[str, OptionValue]
    batch: int
    shard: int
    compiled: bool = False
    autocast: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPreset:
    """A named way to train a model: sizes, settings, length, and the evidence for them.

    `evidence`: "published", "inferred" (consistent with what is published) or "ours".
    """

    name: str
    model: str
    resolution: int
    summary: str
    evidence: Literal["published", "inferred", "ours"]
    source: str
    batch: int
    kimg: float
    options: Mapping[str, OptionValue] = dataclasses.field(default_factory=dict)
    settings: Mapping[str, OptionValue] = dataclasses.field(default_factory=dict)
    hflip: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorSpec:
    """One model offered by a plugin.

    `resolutions`: sides in pixels that `build` accepts (empty: any). `synthesizes` is False if
    existing images are only read: speed and memory are then not measured. `code` names the
    packages that contain the model's source, so that changes are noticed; the plugin's own
    module is always included. `build_learner`, `settings` (of training, as `options` are of the
    model) and `presets` make it trainable.

    A kind of model that users hold as a file, folder or function names in `reference` the option
    that says which: it is then written NAME:VALUE, like `onnx:generator.onnx`. `executes` says what
    code loading it runs, if any: it is then refused without `--trust`. `requires`: packages that it
    needs beyond sfbench's own, each with what to install.
    """

    name: str
    summary: str
    resolutions: tuple[int, ...]
    build: Callable[[BuildRequest], ImageGenerator]
    options: tuple[Option, ...] = ()
    license: str = ""
    citation: str = ""
    build_learner: Callable[[LearnRequest], Learner] | None = None
    settings: tuple[Option, ...] = ()
    presets: tuple[TrainingPreset, ...] = ()
    synthesizes: bool = True
    code: tuple[str, ...] = ()
    reference: str = ""
    executes: str = ""
    requires: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check that the parts fit together; raises ValueError if not."""
        if self.reference and self.reference not in {option.name for option in self.options}:
            msg = f"reference {self.reference!r} of {self.name}: none of its options"
            raise ValueError(msg)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class WeightsFile:
    """A published weights file: its name, its URL, and the digest that identifies it.

    It is expected in `folder` under torch's home. Without `url` and `sha256` it is not fetched.
    """

    name: str
    url: str | None = None
    size: int | None = None
    sha256: str | None = None
    folder: str = "hub/checkpoints"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ExtractorRequest:
    """What the harness asks a plugin to build: an extractor on a device.

    `weights` and `sha256`: the file and the digest of its content (None if the spec names no
    file). `fast` allows rewriting the network if features stay within 1e-4. `variant` is what
    follows the colon in `NAME:VARIANT`.
    """

    device: str = "cpu"
    weights: Path | None = None
    sha256: str | None = None
    fast: bool = False
    variant: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ExtractorSpec:
    """One feature extractor offered by a plugin.

    `weights`: alternative published files, the one to download first; empty if the weights come
    with the code. `variants`: describes what may follow the name after a colon; a weights file
    must then be given.
    """

    name: str
    summary: str
    build: Callable[[ExtractorRequest], FeatureExtractor]
    weights: tuple[WeightsFile, ...] = ()
    variants: str | None = None
    license: str = ""
    citation: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointCard:
    """Where a model's weights are, and what was published about them.

    `file`: a local path when the weights are shipped or already present, else None; `location` says
    where to get them. `published` maps metric names to values as printed in `source`.
    """

    name: str
    model: str
    resolution: int
    dataset: str
    location: str
    source: str
    file: Path | None = None
    size: int | None = None
    sha256: str | None = None
    published: Mapping[str, float] = dataclasses.field(default_factory=dict)
    options: Mapping[str, OptionValue] = dataclasses.field(default_factory=dict)
    details: Mapping[str, Any] = dataclasses.field(default_factory=dict)
