"""Programs of torch.export and TorchScript archives: `exported:g.pt2`, `torchscript:g.pt`."""

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


def build_exported(request: BuildRequest) -> ImageGenerator:
    """Build it (torch is imported here, not when plugins are listed)."""
    from sfbench_exported.loading import exported  # torch comes with it

    return exported(request)


def build_torchscript(request: BuildRequest) -> ImageGenerator:
    """Build it."""
    from sfbench_exported.torchscript import torchscript  # torch comes with it

    return torchscript(request)


@hookimpl
def sfbench_write_graph(generator: ModuleGenerator, target: Path) -> str | None:
    """Write a generator as a program of torch.export."""
    if target.suffix != ".pt2":
        return None
    import torch  # slow

    from sfbench.api.graph_export import exported_program

    torch.export.save(exported_program(generator), target)
    return f"exported:{target}"


@hookimpl
def sfbench_generators() -> list[GeneratorSpec]:
    """Return both kinds."""
    return [
        GeneratorSpec(
            name="exported",
            summary="a program of torch.export (.pt2); nothing in the file is run but its operators",
            resolutions=(),
            options=(
                Option(name="file", kind="path", weights=True, help="the .pt2 file"),
                *GRAPH_OPTIONS,
            ),
            build=build_exported,
            license="Apache-2.0",
            reference="file",
        ),
        GeneratorSpec(
            name="torchscript",
            summary="a TorchScript archive; needs --trust, as it is a program",
            resolutions=(),
            options=(
                Option(name="file", kind="path", weights=True, help="the TorchScript archive"),
                *GRAPH_OPTIONS,
            ),
            build=build_torchscript,
            license="Apache-2.0",
            reference="file",
            executes="the program in the archive, which may read and write files",
        ),
    ]
