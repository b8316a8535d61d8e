"""Models whose code is installed: `hub:FOLDER` with its class, `module:package.module:function`."""

from __future__ import annotations

from sfbench.api import BuildRequest, GeneratorSpec, ImageGenerator, Option, hookimpl
from sfbench.api.graph_inputs import GRAPH_OPTIONS


def build_hub(request: BuildRequest) -> ImageGenerator:
    """Build it (torch is imported here, not when plugins are listed)."""
    from sfbench_python.hub import hub  # torch comes with it

    return hub(request)


def build_module(request: BuildRequest) -> ImageGenerator:
    """Build it."""
    from sfbench_python.function import from_function  # torch comes with it

    return from_function(request)


@hookimpl
def sfbench_generators() -> list[GeneratorSpec]:
    """Return both kinds."""
    return [
        GeneratorSpec(
            name="hub",
            summary="a folder saved by PyTorchModelHubMixin, with --option class=package.module:Class",
            resolutions=(),
            options=(
                Option(
                    name="folder", kind="path", weights=True, help="folder with model.safetensors"
                ),
                Option(name="class", kind="code", help="its class, package.module:Class"),
                *GRAPH_OPTIONS,
            ),
            build=build_hub,
            license="Apache-2.0",
            reference="folder",
            requires={"huggingface_hub": "huggingface-hub"},
        ),
        GeneratorSpec(
            name="module",
            summary="a function that returns a torch module or images, package.module:function",
            resolutions=(),
            options=(
                Option(
                    name="function",
                    kind="code",
                    weights=True,
                    help="the function, package.module:name",
                ),
                Option(
                    name="file",
                    kind="path",
                    default="",
                    help="a file for the function's parameter `file`, e.g. its weights",
                ),
                *GRAPH_OPTIONS,
            ),
            build=build_module,
            license="Apache-2.0",
            reference="function",
        ),
    ]
