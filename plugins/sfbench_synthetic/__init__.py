"""A known amount of arithmetic as an sfbench plugin: for checking the harness and the machine.

Two of them with different `extra` differ by that fraction of work, so that a comparison's result
can be checked against the truth.
"""

from __future__ import annotations

from sfbench.api import BuildRequest, GeneratorSpec, ImageGenerator, Option, hookimpl

OPTIONS = (
    Option(name="width", kind="int", least=1, default=512, help="features of each matrix product"),
    Option(name="products", kind="int", least=0, default=400, help="matrix products per image"),
    Option(name="extra", kind="float", default=0.0, help="fraction of additional work, e.g. 0.05"),
)


def build(request: BuildRequest) -> ImageGenerator:
    """Build it (torch is imported here, not when plugins are listed)."""
    from sfbench_synthetic.products import synthetic  # torch comes with it

    return synthetic(request)


@hookimpl
def sfbench_generators() -> list[GeneratorSpec]:
    """Return the model."""
    return [
        GeneratorSpec(
            name="synthetic",
            summary="a known amount of arithmetic, not images: tests harness and machine",
            resolutions=(),
            options=OPTIONS,
            build=build,
            license="Apache-2.0",
        )
    ]
