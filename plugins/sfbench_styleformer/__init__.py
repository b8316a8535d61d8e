"""Styleformer, its Linformer variant and Styleformer-C as sfbench plugins (arXiv 2106.07023)."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

from reference_models.adversarial_config import AdversarialConfig
from reference_models.cards import read_cards
from reference_models.presets import PRESETS
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

POWERS = (8, 16, 32, 64, 128, 256, 512, 1024)
START_12 = (48, 96, 192, 384, 768)
CITATION = "Park and Kim, Styleformer, CVPR 2022, arXiv 2106.07023"

SETTINGS = options_of(AdversarialConfig)
STYLE_OPTIONS = (
    Option(name="c_dim", kind="int", default=0, help="number of classes (0: unconditional)"),
    Option(name="mapping_layers", kind="int", default=2, help="layers of the mapping network"),
    Option(
        name="noise",
        kind="str",
        default="random",
        choices=("random", "const", "none"),
        help="per-pixel noise; random is what the official program always does",
    ),
    Option(name="truncation_psi", kind="float", default=1.0, help="truncation towards the mean w"),
)
SIZE_OPTIONS = (
    Option(
        name="preset",
        kind="str",
        default="by-resolution",
        choices=("by-resolution", *(preset.name for preset in PRESETS)),
        help="published sizes by name",
    ),
    Option(name="widths", kind="ints", help="channels a resolution, e.g. 256,64,16"),
    Option(name="layers", kind="ints", help="attention layers a resolution, e.g. 1,2,2"),
    Option(name="minimum_heads", kind="int", default=1, help="least number of attention heads"),
    Option(name="head_width", kind="int", default=32, help="channels a head"),
    Option(
        name="style_injection",
        kind="str",
        default="per-layer",
        choices=("per-layer", "shared"),
        help="one style transformation a layer, or one shared by the layers of a resolution",
    ),
    Option(
        name="pre_norm",
        kind="str",
        default="after-modulation",
        choices=("after-modulation", "before-modulation", "none"),
        help="where the layer normalisation stands",
    ),
    Option(name="feed_forward", kind="bool", default=False, help="add a modulated feed-forward"),
    Option(
        name="residual",
        kind="str",
        default="modulated-value",
        choices=("modulated-value", "identity", "none"),
        help="what the residual adds",
    ),
    Option(
        name="position_encoding",
        kind="str",
        default="learned",
        choices=("learned", "sinusoidal", "none"),
        help="position encoding at each resolution",
    ),
)
SPLIT_OPTIONS = (
    Option(name="split", kind="int", default=32, help="last resolution made by Styleformer"),
    Option(name="channel_base", kind="int", default=16384, help="channels = base / resolution"),
)


def build(request: BuildRequest, *, linformer: bool) -> ImageGenerator:
    """Build Styleformer (torch is imported here, not when plugins are listed)."""
    from sfbench_styleformer.builders import styleformer  # torch comes with it

    return styleformer(request, linformer=linformer)


def build_c(request: BuildRequest) -> ImageGenerator:
    """Build Styleformer-C (torch is imported here, not when plugins are listed)."""
    from sfbench_styleformer.builders import styleformer_c  # torch comes with it

    return styleformer_c(request)


def learn(request: LearnRequest, *, linformer: bool) -> Learner:
    """Train Styleformer."""
    from sfbench_styleformer.builders import loaded_styleformer  # torch comes with it
    from sfbench_styleformer.learners import learner  # torch comes with it

    return learner(request, functools.partial(loaded_styleformer, linformer=linformer))


def learn_c(request: LearnRequest) -> Learner:
    """Train Styleformer-C."""
    from sfbench_styleformer.builders import loaded_styleformer_c  # torch comes with it
    from sfbench_styleformer.learners import learner  # torch comes with it

    return learner(request, loaded_styleformer_c)


def presets(model: str) -> tuple[TrainingPreset, ...]:
    """Return the named ways to train a model."""
    found = (preset for preset in TRAINING_PRESETS if preset.model == model)
    return tuple(TrainingPreset(**dataclasses.asdict(preset)) for preset in found)


@hookimpl
def sfbench_generators() -> list[GeneratorSpec]:
    """Return the three models."""
    return [
        GeneratorSpec(
            name="styleformer",
            summary="style-based transformer, full attention, no convolution",
            resolutions=tuple(sorted(POWERS + START_12)),
            options=SIZE_OPTIONS + STYLE_OPTIONS,
            build=functools.partial(build, linformer=False),
            build_learner=functools.partial(learn, linformer=False),
            settings=SETTINGS,
            presets=presets("styleformer"),
            license="Apache-2.0",
            citation=CITATION,
            code=("reference_models",),
        ),
        GeneratorSpec(
            name="styleformer-linformer",
            summary="Styleformer with k and v projected to 256 tokens from 32 px up",
            resolutions=tuple(sorted(POWERS + START_12)),
            options=SIZE_OPTIONS + STYLE_OPTIONS,
            build=functools.partial(build, linformer=True),
            build_learner=functools.partial(learn, linformer=True),
            settings=SETTINGS,
            presets=presets("styleformer-linformer"),
            license="Apache-2.0",
            citation=f"{CITATION}; Wang et al., Linformer, arXiv 2006.04768",
            code=("reference_models",),
        ),
        GeneratorSpec(
            name="styleformer-c",
            summary="Styleformer up to 32 px, StyleGAN2 convolutions above (sizes are ours)",
            resolutions=tuple(side for side in POWERS if side > POWERS[0]),
            options=SPLIT_OPTIONS + SIZE_OPTIONS[1:] + STYLE_OPTIONS,
            build=build_c,
            build_learner=learn_c,
            settings=SETTINGS,
            presets=presets("styleformer-c"),
            license="Apache-2.0",
            citation=CITATION,
            code=("reference_models",),
        ),
    ]


@hookimpl
def sfbench_checkpoints() -> list[CheckpointCard]:
    """Return the cards of published and shipped weights."""
    models = ("styleformer", "styleformer-linformer", "styleformer-c")
    return [CheckpointCard(**card) for card in read_cards(models)]


@hookimpl
def sfbench_convert(source: Path, target: Path) -> str | None:
    """Convert a checkpoint of this family to safetensors."""
    from reference_models.checkpoints import convert  # torch comes with it

    try:
        return convert(source, target, ("styleformer", "styleformer-c"))
    except ValueError as error:
        msg = f"{source}: {error}"
        raise WeightsError(msg) from None
