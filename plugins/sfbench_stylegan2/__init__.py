"""StyleGAN2, the convolution baseline, as an sfbench plugin (arXiv 1912.04958)."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from reference_models.adversarial_config import AdversarialConfig
from reference_models.cards import read_cards
from reference_models.kernels_option import KernelsOption
from reference_models.presets import STYLEGAN2_CHANNELS
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
from sfbench.api.style_generator import STYLE_OPTIONS

OPTIONS = (
    Option(
        name="preset",
        kind="str",
        default="published",
        choices=tuple(STYLEGAN2_CHANNELS),
        help="channels as published, or few enough to train on a CPU",
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
        help="maximum channels at a resolution [default: the preset's]",
    ),
    Option(
        name="image_path",
        kind="str",
        default="skip",
        choices=("skip", "resnet", "orig"),
        help="how the image grows over resolutions",
    ),
    *STYLE_OPTIONS,
    *options_of(KernelsOption),
)


def build(request: BuildRequest) -> ImageGenerator:
    """Build StyleGAN2 (torch is imported here, not when plugins are listed)."""
    from sfbench_stylegan2.builders import stylegan2  # torch comes with it

    return stylegan2(request)


def learn(request: LearnRequest) -> Learner:
    """Train StyleGAN2."""
    from sfbench_stylegan2.learners import learner  # torch comes with it

    return learner(request)


PRESETS = tuple(
    TrainingPreset(**dataclasses.asdict(preset))
    for preset in TRAINING_PRESETS
    if preset.model == "stylegan2"
)


@hookimpl
def sfbench_generators() -> list[GeneratorSpec]:
    """Return the model."""
    return [
        GeneratorSpec(
            name="stylegan2",
            summary="modulated convolutions with skip images: the convolution baseline",
            resolutions=(8, 16, 32, 64, 128, 256, 512, 1024),
            options=OPTIONS,
            build=build,
            build_learner=learn,
            settings=options_of(AdversarialConfig),
            presets=PRESETS,
            license="Apache-2.0",
            citation="Karras et al., StyleGAN2, CVPR 2020, arXiv 1912.04958",
            code=("reference_models",),
        )
    ]


@hookimpl
def sfbench_checkpoints() -> list[CheckpointCard]:
    """Return the cards of shipped weights."""
    return [CheckpointCard(**card) for card in read_cards(("stylegan2",))]


@hookimpl
def sfbench_convert(source: Path, target: Path) -> str | None:
    """Convert a checkpoint of this family to safetensors."""
    from reference_models.checkpoints import convert  # torch comes with it

    try:
        return convert(source, target, ("stylegan2",))
    except ValueError as error:
        msg = f"{source}: {error}"
        raise WeightsError(msg) from None


@hookimpl
def sfbench_recognize(source: Path) -> tuple[str, int] | None:
    """Return the model and resolution of weights of this family."""
    from reference_models.checkpoints import model_of  # torch comes with it

    found = model_of(source)
    return found if found and found[0].startswith("stylegan2") else None
