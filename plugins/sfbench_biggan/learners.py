"""Trains BigGAN and BigGAN-deep."""

from __future__ import annotations

import copy

import torch

from reference_models.biggan_discriminator import BigGANDiscriminator, BigGANDiscriminatorConfig
from reference_models.biggan_learning import BigGANLearner
from reference_models.biggan_training import BigGANTraining
from reference_models.checkpoints import write_checkpoint
from sfbench.api import LearnRequest, ModuleLearner, UsageError
from sfbench_biggan.builders import adapt, initial

DISCRIMINATOR_SEED = 1
"""Added to the generator's: the two must not begin with the same numbers."""


def learner(request: LearnRequest, *, deep: bool) -> ModuleLearner:
    """Return the learner; raises UsageError for invalid settings."""
    if request.shard != request.batch:
        msg = (
            f"a batch of {request.batch} is cut into parts of {request.shard}: batch norm needs all of "
            "it at once; train on one process, without --accumulate"
        )
        raise UsageError(msg)
    if request.compiled or request.autocast is not None:
        msg = "BigGAN trains in eager single precision: leave out --mode and --dtype"
        raise UsageError(msg)
    network, config = initial(request.build, deep=deep)
    settings = BigGANTraining(**request.settings)  # type: ignore[arg-type]  # parsed by their kinds
    try:
        settings.check()
        sizes = BigGANDiscriminatorConfig(
            resolution=config.resolution,
            channels=settings.d_channels,
            classes=config.classes,
            attention=config.attention,
            spectral_eps=config.spectral_eps,
        )
    except ValueError as error:
        raise UsageError(str(error)) from None
    discriminator = BigGANDiscriminator(sizes)
    seed = request.build.seed + DISCRIMINATOR_SEED
    discriminator.reset_parameters(torch.Generator().manual_seed(seed))
    device = request.build.device
    inner = BigGANLearner(
        network.to(device), discriminator.to(device), settings, batch=request.batch
    )
    return ModuleLearner(
        inner,
        build=lambda: adapt(copy.deepcopy(inner.average), config, request.build),
        write=lambda path: write_checkpoint(path, inner.average, config),
    )
