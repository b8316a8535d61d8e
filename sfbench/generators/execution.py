"""How a built generator is run: eager, compiled by torch, or replayed as a CUDA graph."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sfbench.api.errors import UnsupportedError
from sfbench.api.labels import Conditional, Labels
from sfbench.api.protocols import ForeignRuntime, ImageGenerator, Staged
from sfbench.hardware.backend import Backend
from sfbench.values.case import Mode

COMPILE_MODES: Mapping[str, str] = {
    "compile": "default",
    "compile-reduce-overhead": "reduce-overhead",
    "compile-max-autotune": "max-autotune",
}
"""torch.compile's own name of each mode."""


def prepared(
    generator: ImageGenerator, mode: Mode, module: nn.Module | None, backend: Backend
) -> ImageGenerator:
    """Return the generator to be measured in that mode.

    Raises UnsupportedError if the mode needs what the generator or the machine lacks.
    """
    if mode == "eager":
        return generator
    if isinstance(generator, ForeignRuntime):
        msg = f"mode {mode} is torch's; the model runs in {generator.runtime}: use eager"
        raise UnsupportedError(msg)
    if mode == "cuda-graph":
        return GraphedGenerator(generator, backend)
    if module is None:
        msg = f"mode {mode} needs a generator with an nn.Module"
        raise UnsupportedError(msg)
    # A module's own mode and autotuning are torch's; each batch size gets a graph of its own.
    module.compile(dynamic=False, mode=COMPILE_MODES[mode])
    return CompiledGenerator(generator)


def graphs() -> int:
    """Return how many graphs torch.compile has made in this process."""
    return int(torch._dynamo.utils.counters["stats"]["unique_graphs"])  # noqa: SLF001  # no public count


def graph_breaks() -> list[str]:
    """Return why torch.compile left parts of the code to Python, if it did."""
    return sorted(torch._dynamo.utils.counters["graph_break"])  # noqa: SLF001  # no public count


class Wrapped:
    """A generator with another `synthesize`: everything else is the inner one's."""

    def __init__(self, inner: ImageGenerator) -> None:
        self.inner = inner
        self.resolution = inner.resolution
        self.module = getattr(inner, "module", None)
        self.architecture = getattr(inner, "architecture", None)
        if isinstance(inner, Staged):
            self.stages = inner.stages

    @property
    def classes(self) -> int:
        """The number of classes of the inner generator; 0 where it does not say."""
        return self.inner.classes if isinstance(self.inner, Conditional) else 0

    def use_labels(self, labels: Labels) -> None:
        """Draw labels by this rule from now on."""
        if isinstance(self.inner, Conditional):
            self.inner.use_labels(labels)

    def draw_latents(self, seeds: Sequence[int]) -> Any:
        """Return the inputs of the images with these seeds."""
        return self.inner.draw_latents(seeds)


class CompiledGenerator(Wrapped):
    """Tells torch where an iteration begins: outputs of CUDA graphs live until the next one."""

    def synthesize(self, latents: Any) -> Tensor:
        """Return images [batch, channels, side, side]."""
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]  # torch
        return self.inner.synthesize(latents).clone()


class GraphedGenerator(Wrapped):
    """Replays a CUDA graph of `synthesize`, one a shape of latents, captured at its first use."""

    def __init__(self, inner: ImageGenerator, backend: Backend) -> None:
        super().__init__(inner)
        self.backend = backend
        self.graphs: dict[tuple[Any, ...], tuple[list[Tensor], Callable[[], None], Tensor]] = {}

    def synthesize(self, latents: Any) -> Tensor:
        """Return images [batch, channels, side, side]: a copy of the graph's own output."""
        given = list(tensors_in(latents))
        key = tuple((tuple(tensor.shape), tensor.dtype) for tensor in given)
        if key not in self.graphs:
            own = copy.deepcopy(latents)
            replay, output = self.backend.captured(lambda: self.inner.synthesize(own))
            self.graphs[key] = list(tensors_in(own)), replay, output
        inputs, replay, output = self.graphs[key]
        for target, source in zip(inputs, given, strict=True):
            target.copy_(source, non_blocking=True)
        replay()
        return output.clone()


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Yield the tensors of latents: of a tensor, sequence, mapping or dataclass, in order.

    Raises UnsupportedError for anything else that could hold one.
    """
    if isinstance(value, Tensor):
        yield value
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from tensors_in(getattr(value, field.name))
    elif isinstance(value, Mapping):
        for key in value:
            yield from tensors_in(value[key])
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors_in(item)
    elif value is not None and not isinstance(value, int | float | str):
        msg = f"mode cuda-graph: latents hold a {type(value).__name__}, which it cannot replay"
        raise UnsupportedError(msg)
