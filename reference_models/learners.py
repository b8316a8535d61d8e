"""Builds what trains a generator of the StyleGAN family: its discriminator, settings and device."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import torch

from reference_models.adversarial import AdversarialLearner, Trained
from reference_models.adversarial_config import AdversarialConfig
from reference_models.discriminator import Discriminator, DiscriminatorConfig
from reference_models.equalized import initialize
from reference_models.parity import check_compiled

DISCRIMINATOR_SEED = 1
"""Added to the generator's: the two must not begin with the same numbers."""
IMAGE_CHANNELS = 3


@runtime_checkable
class Start(Protocol):
    """Of the generator: pixels, the seed of its weights, and where it is trained."""

    @property
    def resolution(self) -> int:
        """Side in pixels."""

    @property
    def seed(self) -> int:
        """Of initial weights."""

    @property
    def device(self) -> str:
        """As torch names it."""


@runtime_checkable
class Wanted(Protocol):
    """What is asked of a run."""

    @property
    def build(self) -> Start:
        """The generator."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """Fields of AdversarialConfig."""

    @property
    def batch(self) -> int:
        """Images a step."""

    @property
    def shard(self) -> int:
        """Images that a process sees at once."""

    @property
    def compiled(self) -> bool:
        """Whether to use torch.compile."""

    @property
    def autocast(self) -> str | None:
        """Torch's name of the type of the cheaper parts."""


def adversarial_learner(generator: Trained, wanted: Wanted) -> AdversarialLearner[Trained]:
    """Return the learner on its device; raises ValueError for settings that cannot be meant."""
    start = wanted.build
    asked = AdversarialConfig(**wanted.settings)
    config = asked.resolved(start.resolution, wanted.batch, wanted.shard)
    discriminator = Discriminator(
        DiscriminatorConfig(
            resolution=start.resolution,
            c_dim=generator.mapping.c_dim,
            image_channels=IMAGE_CHANNELS,
            architecture=config.architecture,
            channel_base=config.d_channel_base,
            channel_max=config.d_channel_max,
            deviation_group=config.deviation_group,
        )
    )
    initialize(discriminator, torch.Generator().manual_seed(start.seed + DISCRIMINATOR_SEED))
    cheaper: Callable[[], Any] = contextlib.nullcontext
    if wanted.autocast is not None:
        dtype = getattr(torch, wanted.autocast)
        cheaper = functools.partial(torch.autocast, start.device, dtype=dtype)
    learner = AdversarialLearner(
        generator.to(start.device),
        discriminator.to(start.device),
        config,
        batch=wanted.batch,
        autocast=cheaper,
        compiled=wanted.compiled,
    )
    if wanted.compiled:
        width = 4 if wanted.autocast is None else 2
        check_compiled(learner, wanted.shard, start.resolution, width)
    return learner
