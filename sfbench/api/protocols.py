"""The contracts between the harness and everything that plugs into it.

torch appears in annotations only; importing this module does not import it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor


@runtime_checkable
class ImageGenerator(Protocol):
    """Makes images from seeds, in two steps of which only the second is timed.

    Image i depends only on seed i: its batch changes nothing beyond kernel rounding. Labels and
    per-image noise are part of the latents.
    """

    resolution: int

    def draw_latents(self, seeds: Sequence[int]) -> Any:
        """Return the inputs of the images with these seeds, on the generator's device."""
        ...

    def synthesize(self, latents: Any) -> Tensor:
        """Return images [batch, channels, side, side], floating point, in [-1, 1]."""
        ...


class ModelSize(NamedTuple):
    """Numbers of a model's weights, and their bytes; None where the file does not say."""

    parameters: int | None
    weight_bytes: int | None


@runtime_checkable
class ForeignRuntime(Protocol):
    """A generator that torch does not compute, such as one that runs in onnxruntime.

    `runtime`: its name and version. `model_size`: what torch would count of a module.
    """

    runtime: str
    model_size: ModelSize


class Stage(NamedTuple):
    """One part of making images: its name, how often a batch calls it, and one such call."""

    name: str
    calls: int
    run: Callable[[], Any]


@runtime_checkable
class Staged(Protocol):
    """A generator made of parts that are measured one by one, such as denoiser and decoder."""

    def stages(self, latents: Any) -> Iterable[Stage]:
        """Return the parts, to be called with the latents of a batch."""
        ...


class Features(NamedTuple):
    """Output of an extractor: features [batch, D], class logits [batch, K] or None.

    `spatial` [batch, S]: spatial features (for sFID), or None.
    """

    pooled: Tensor
    logits: Tensor | None = None
    spatial: Tensor | None = None


@runtime_checkable
class FeatureExtractor(Protocol):
    """Images, already resized, as float32 [batch, 3, side, side] in 0..255 -> features.

    The harness resizes images: every metrics package does it differently, and it affects distances
    more than anything else. `side`: input size in pixels; None takes images as they are. `resize`:
    its authors' method, used unless a protocol says otherwise. `name` is part of every metric's
    name (`fd[name]`). `identity` holds at least `name`, `weights_sha256` and `features`, and
    whatever else affects a number. `standard` is True only for Inception-v3 (2015) with published
    weights: then distances may be called FID, KID and IS.
    """

    name: str
    identity: Mapping[str, Any]
    standard: bool
    side: int | None
    resize: str

    def __call__(self, images: Tensor) -> Features:
        """Return the features of a batch."""
        ...


class Picture(NamedTuple):
    """One image: pixels [3, height, width], and a note of any conversion to 8-bit RGB, or None.

    Pixels are uint8, or floating point in [-1, 1] from a generator. `stored`: the same image as
    packages read it that neither turn it upright nor reduce 16 bits, where that differs.
    """

    pixels: Tensor
    note: str | None = None
    stored: Picture | None = None


@runtime_checkable
class Dataset(Protocol):
    """Real images as uint8 RGB with optional labels.

    `identity` holds `name`, `sha256` (of content, or of the definition if images are generated)
    and `resize`.
    """

    identity: Mapping[str, Any]

    def __len__(self) -> int:
        """Return the number of images."""
        ...

    def read(self, index: int) -> Picture:
        """Return one image; raises DataError with its name when it cannot be read."""
        ...

    def labels(self, indices: Sequence[int]) -> list[int] | None:
        """Return class numbers, or None if the images have none."""
        ...
