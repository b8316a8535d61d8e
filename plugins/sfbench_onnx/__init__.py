"""ONNX graphs as generators, run by onnxruntime: `onnx:generator.onnx`."""

from __future__ import annotations

from pathlib import Path

from sfbench.api import (
    BuildRequest,
    GeneratorSpec,
    ImageGenerator,
    ModuleGenerator,
    Option,
    hookimpl,
)
from sfbench.api.graph_inputs import GRAPH_OPTIONS


def build(request: BuildRequest) -> ImageGenerator:
    """Build it (onnxruntime is imported here, not when plugins are listed)."""
    from sfbench_onnx.session import generator  # onnx and onnxruntime come with it

    return generator(request)


@hookimpl
def sfbench_write_graph(generator: ModuleGenerator, target: Path) -> str | None:
    """Write a generator as an ONNX file."""
    if target.suffix != ".onnx":
        return None
    from sfbench_onnx.writing import write  # torch and onnxscript come with it

    write(generator, target)
    return f"onnx:{target}"


@hookimpl
def sfbench_generators() -> list[GeneratorSpec]:
    """Return the kind."""
    return [
        GeneratorSpec(
            name="onnx",
            summary="an ONNX file, run by onnxruntime",
            resolutions=(),
            options=(
                Option(name="file", kind="path", weights=True, help="the ONNX file"),
                *GRAPH_OPTIONS,
            ),
            build=build,
            license="Apache-2.0",
            reference="file",
            requires={"onnx": "sfbench[onnx]", "onnxruntime": "sfbench[onnx]"},
        )
    ]
