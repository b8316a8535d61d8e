"""The whole extension surface: what a plugin may implement, on one screen.

A plugin is a module (an entry point in the group "sfbench", or a file given with --plugin) with
functions marked `@hookimpl`. It must not import torch at import time: import it inside `build`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

from sfbench.api.spec import CheckpointCard, ExtractorSpec, GeneratorSpec

if TYPE_CHECKING:
    from sfbench.api.module_generator import ModuleGenerator

PROJECT = "sfbench"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class Hooks:
    """Every hook; all are optional. Those without arguments are called when plugins are listed."""

    @hookspec
    def sfbench_generators(self) -> Iterable[GeneratorSpec]:  # type: ignore[empty-body]  # a hook
        """Return the models this plugin offers."""

    @hookspec
    def sfbench_checkpoints(self) -> Iterable[CheckpointCard]:  # type: ignore[empty-body]  # a hook
        """Return cards of published or shipped checkpoints of this plugin's models."""

    @hookspec
    def sfbench_extractors(self) -> Iterable[ExtractorSpec]:  # type: ignore[empty-body]  # a hook
        """Return the feature extractors this plugin offers."""

    @hookspec(firstresult=True)
    def sfbench_convert(self, source: Path, target: Path) -> str | None:
        """Write the weights in `source` as safetensors to `target` and return their description.

        None for a file of another plugin's models; raises WeightsError for an unusable one.
        """

    @hookspec(firstresult=True)
    def sfbench_recognize(self, source: Path) -> tuple[str, int] | None:
        """Return the model and the resolution in pixels of a weights file that says them.

        None for a file that does not, or that holds another plugin's models.
        """

    @hookspec(firstresult=True)
    def sfbench_write_graph(self, generator: ModuleGenerator, target: Path) -> str | None:
        """Write a generator as a graph, and return the model that loads it, as KIND:PATH.

        None for a file name of another kind; raises UnsupportedError for a generator that this
        kind of graph cannot hold.
        """

    @hookspec(firstresult=True)
    def sfbench_export(self, records: Sequence[Mapping[str, Any]], target: str) -> str | None:
        """Send records (JSON documents) to `target`, SCHEME:REST; return a summary of it.

        None for another plugin's scheme; raises DataError if they cannot be sent.
        """
