"""Folders of diffusers pipelines as generators: `diffusers:./pipeline`."""

from __future__ import annotations

from sfbench.api import BuildRequest, GeneratorSpec, ImageGenerator, Option, hookimpl

SCHEDULERS = (
    "ddim",
    "ddpm",
    "deis",
    "dpm-multistep",
    "dpm-singlestep",
    "euler",
    "euler-ancestral",
    "heun",
    "lcm",
    "lms",
    "pndm",
    "unipc",
)
OPTIONS = (
    Option(name="folder", kind="path", weights=True, help="folder with model_index.json"),
    Option(name="steps", kind="int", least=1, help="denoising steps [default: the pipeline's own]"),
    Option(
        name="scheduler",
        kind="str",
        default="own",
        choices=("own", *SCHEDULERS),
        help="scheduler in place of the folder's own, with its noise schedule",
    ),
    Option(name="guidance", kind="float", help="guidance scale [default: the pipeline's own]"),
    Option(
        name="eta", kind="float", least=0, most=1, default=0.0, help="noise of a DDIM step, 0 to 1"
    ),
    Option(name="vae_slicing", kind="bool", default=False, help="decode one image at a time"),
    Option(name="vae_tiling", kind="bool", default=False, help="decode in tiles"),
    Option(name="prompts", kind="path", default="", help="text file, one prompt per line"),
)


def build(request: BuildRequest) -> ImageGenerator:
    """Build it (diffusers is imported here, not when plugins are listed)."""
    from sfbench_diffusers.building import generator  # torch and diffusers come with it

    return generator(request)


@hookimpl
def sfbench_generators() -> list[GeneratorSpec]:
    """Return the kind."""
    return [
        GeneratorSpec(
            name="diffusers",
            summary="a folder of a diffusers pipeline: unconditional, latent, DiT, consistency, text",
            resolutions=(),
            options=OPTIONS,
            build=build,
            license="Apache-2.0",
            reference="folder",
            requires={"diffusers": "sfbench[diffusers]"},
        )
    ]
