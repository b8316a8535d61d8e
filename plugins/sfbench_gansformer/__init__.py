"""The GANsformer as an sfbench plugin (arXiv 2103.01209)."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from reference_models.adversarial_config import AdversarialConfig
from reference_models.cards import read_cards
from reference_models.training_presets import TRAINING_PRESETS
from sfbench.api import (
    BuildRequest,
    CheckpointCard,
    GeneratorSpec,
    ImageGenerator,
    Learner,
    LearnRequest,
    Option,
    TrainingPreset,
    WeightsError,
    hookimpl,
    options_of,
)
from sfbench.api.style_generator import NOISE, TRUNCATION

OPTIONS = (
    Option(
        name="preset",
        kind="str",
        default="published",
        choices=("published", "clevr", "nano"),
        help="sizes of FFHQ, bedrooms and Cityscapes, of CLEVR, or few enough to train on a CPU",
    ),
    Option(
        name="attention",
        kind="str",
        default="duplex",
        choices=("duplex", "simplex"),
        help="whether centroids (k-means) or keys of the latents are what places are compared with",
    ),
    Option(
        name="components",
        kind="int",
        least=1,
        most=4096,
        help="latents beside the global one [default: the preset's]",
    ),
    Option(
        name="latent_dim",
        kind="int",
        least=1,
        most=65536,
        help="numbers of each latent [default: the preset's]",
    ),
    Option(
        name="channel_base",
        kind="int",
        least=1,
        help="channels = base / resolution [default: the preset's]",
    ),
    Option(
        name="channel_max",
        kind="int",
        least=1,
        most=65536,
        help="most channels at a resolution [default: the preset's]",
    ),
    NOISE,
    TRUNCATION,
)


def build(request: BuildRequest) -> ImageGenerator:
    """Build the GANsformer (torch is imported here, not when plugins are listed)."""
    from sfbench_gansformer.builders import gansformer  # torch comes with it

    return gansformer(request)


def learn(request: LearnRequest) -> Learner:
    """Train the GANsformer."""
    from sfbench_gansformer.learners import learner  # torch comes with it

    return learner(request)


PRESETS = tuple(
    TrainingPreset(**dataclasses.asdict(preset))
    for preset in TRAINING_PRESETS
    if preset.model == "gansformer"
)


@hookimpl
def sfbench_generators() -> list[GeneratorSpec]:
    """Return the model."""
    return [
        GeneratorSpec(
            name="gansformer",
            summary="StyleGAN2's convolutions with attention of the image to several latents",
            resolutions=(8, 16, 32, 64, 128, 256, 512, 1024),
            options=OPTIONS,
            build=build,
            build_learner=learn,
            settings=options_of(AdversarialConfig),
            presets=PRESETS,
            license="Apache-2.0",
            citation="Hudson and Zitnick, GANsformer, ICML 2021, arXiv 2103.01209",
            code=("reference_models",),
        )
    ]


@hookimpl
def sfbench_checkpoints() -> list[CheckpointCard]:
    """Return the cards of published and shipped weights."""
    return [CheckpointCard(**card) for card in read_cards(("gansformer",))]


@hookimpl
def sfbench_convert(source: Path, target: Path) -> str | None:
    """Convert a checkpoint of this family to safetensors."""
    from reference_models.checkpoints import convert  # torch comes with it

    try:
        return convert(source, target, ("gansformer",))
    except ValueError as error:
        msg = f"{source}: {error}"
        raise WeightsError(msg) from None


@hookimpl
def sfbench_recognize(source: Path) -> tuple[str, int] | None:
    """Return the model and resolution of weights of this family."""
    from reference_models.checkpoints import model_of  # torch comes with it

    found = model_of(source)
    return found if found and found[0] == "gansformer" else None
