"""Trains StyleGAN2."""

from __future__ import annotations

from reference_models.checkpoints import write_checkpoint
from reference_models.learners import adversarial_learner
from reference_models.native import use_native_convolutions
from sfbench.api import LearnRequest, ModuleLearner, UsageError
from sfbench.api.own_kernels import check_training, train_with_own_kernels, without_own_kernels
from sfbench_stylegan2.builders import adapt, loaded_stylegan2


def learner(request: LearnRequest) -> ModuleLearner:
    """Return the learner of StyleGAN2; raises UsageError for invalid settings."""
    native = request.build.options["kernels"] == "native"
    if native:
        check_training(request)
    module, config = loaded_stylegan2(request.build)
    try:
        inner = adversarial_learner(module, request)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if native:
        every = inner.live, inner.average, inner.discriminator
        train_with_own_kernels(use_native_convolutions, *every)
    return ModuleLearner(
        inner,
        build=lambda: adapt(inner.average, config, without_own_kernels(request.build)),
        write=lambda path: write_checkpoint(path, inner.average, config),
    )
