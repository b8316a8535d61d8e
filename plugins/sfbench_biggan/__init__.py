"""BigGAN and BigGAN-deep as an sfbench plugin (arXiv 1809.11096)."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from reference_models.biggan_config import INPUTS, PRESETS
from reference_models.biggan_training import BigGANTraining
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

CITATION = "Brock et al., BigGAN, ICLR 2019, arXiv 1809.11096"
RESOLUTIONS = tuple(sorted(INPUTS))


def model_options(*, deep: bool) -> tuple[Option, ...]:
    """Return the options of a model."""
    names = tuple(preset.name for preset in PRESETS if preset.config.deep == deep)
    return (
        Option(
            name="preset",
            kind="str",
            default="by-resolution",
            choices=("by-resolution", *names),
            help="published sizes by name",
        ),
        Option(
            name="channels",
            kind="int",
            least=1,
            most=4096,
            help="base of all widths [default: the preset's]",
        ),
        Option(
            name="shared_dim",
            kind="int",
            least=1,
            most=65536,
            help="width of the shared class embedding",
        ),
        Option(
            name="z_dim",
            kind="int",
            least=1,
            most=65536,
            help="numbers of z [default: the preset's]",
        ),
        Option(
            name="c_dim",
            kind="int",
            least=1,
            most=1000000,
            help="number of classes [default: the preset's]",
        ),
        Option(
            name="truncation",
            kind="float",
            above=0,
            help="draw numbers of z again that are farther from zero, as the paper does",
        ),
        Option(
            name="z_scale",
            kind="float",
            above=0,
            default=1.0,
            help="multiply z by this (the authors' z_var; with truncation=2, their TF Hub modules')",
        ),
        Option(
            name="statistics",
            kind="str",
            default="running",
            choices=("running", "standing"),
            help="of batch norm: as the weights hold them, or averaged over batches drawn first",
        ),
        Option(
            name="standing_batches",
            kind="int",
            least=1,
            default=16,
            help="batches of standing statistics",
        ),
        Option(
            name="standing_batch",
            kind="int",
            least=2,
            default=32,
            help="images of each of these batches",
        ),
        Option(
            name="norm_eps",
            kind="float",
            above=0,
            help="epsilon of batch norm [default: what the file says, else the preset's]",
        ),
        Option(
            name="spectral_eps",
            kind="float",
            above=0,
            help="epsilon of spectral norm [default: as norm_eps]",
        ),
    )


def build_biggan(request: BuildRequest) -> ImageGenerator:
    """Build BigGAN (torch is imported here, not when plugins are listed)."""
    from sfbench_biggan.builders import biggan  # torch comes with it

    return biggan(request, deep=False)


def build_deep(request: BuildRequest) -> ImageGenerator:
    """Build BigGAN-deep."""
    from sfbench_biggan.builders import biggan  # torch comes with it

    return biggan(request, deep=True)


def learn_biggan(request: LearnRequest) -> Learner:
    """Train BigGAN."""
    from sfbench_biggan.learners import learner  # torch comes with it

    return learner(request, deep=False)


def learn_deep(request: LearnRequest) -> Learner:
    """Train BigGAN-deep."""
    from sfbench_biggan.learners import learner  # torch comes with it

    return learner(request, deep=True)


def presets_of(model: str) -> tuple[TrainingPreset, ...]:
    """Return the ways to train a model."""
    return tuple(
        TrainingPreset(**dataclasses.asdict(preset))
        for preset in TRAINING_PRESETS
        if preset.model == model
    )


SETTINGS = options_of(BigGANTraining)


@hookimpl
def sfbench_generators() -> list[GeneratorSpec]:
    """Return the models."""
    return [
        GeneratorSpec(
            name="biggan",
            summary="convolutions with self-attention, conditioned through batch norm",
            resolutions=RESOLUTIONS,
            options=model_options(deep=False),
            build=build_biggan,
            build_learner=learn_biggan,
            settings=SETTINGS,
            presets=presets_of("biggan"),
            license="Apache-2.0",
            citation=CITATION,
            code=("reference_models",),
        ),
        GeneratorSpec(
            name="biggan-deep",
            summary="BigGAN of bottleneck blocks, each conditioned by all of z",
            resolutions=RESOLUTIONS[:-1],
            options=model_options(deep=True),
            build=build_deep,
            build_learner=learn_deep,
            settings=SETTINGS,
            presets=presets_of("biggan-deep"),
            license="Apache-2.0",
            citation=CITATION,
            code=("reference_models",),
        ),
    ]


@hookimpl
def sfbench_checkpoints() -> list[CheckpointCard]:
    """Return the cards of published and shipped weights."""
    return [CheckpointCard(**card) for card in read_cards(("biggan", "biggan-deep"))]


@hookimpl
def sfbench_convert(source: Path, target: Path) -> str | None:
    """Convert a checkpoint of this family to safetensors."""
    from reference_models.checkpoints import convert  # torch comes with it

    try:
        return convert(source, target, ("biggan",))
    except ValueError as error:
        msg = f"{source}: {error}"
        raise WeightsError(msg) from None


@hookimpl
def sfbench_recognize(source: Path) -> tuple[str, int] | None:
    """Return the model and resolution of weights of this family."""
    from reference_models.checkpoints import model_of  # torch comes with it

    found = model_of(source)
    return found if found and found[0].startswith("biggan") else None
