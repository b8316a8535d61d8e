"""Trains the Styleformer family."""

from __future__ import annotations

from collections.abc import Callable

from reference_models.checkpoints import Config, write_checkpoint
from reference_models.learners import adversarial_learner
from reference_models.native import use_native_convolutions
from reference_models.style_generator import StyleGenerator
from sfbench.api import BuildRequest, LearnRequest, ModuleLearner, UsageError
from sfbench.api.own_kernels import check_training, train_with_own_kernels, without_own_kernels
from sfbench_styleformer.builders import adapt


def learner(
    request: LearnRequest, load: Callable[[BuildRequest], tuple[StyleGenerator, Config]]
) -> ModuleLearner:
    """Return the learner of the model that `load` loads; raises UsageError for invalid settings."""
    native = request.build.options["kernels"] == "native"
    if native:
        check_training(request)
    module, config = load(request.build)
    try:
        inner = adversarial_learner(module, request)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if native:
        train_with_own_kernels(use_native_convolutions, inner.discriminator)
    return ModuleLearner(
        inner,
        build=lambda: adapt(inner.average, config, without_own_kernels(request.build)),
        write=lambda path: write_checkpoint(path, inner.average, config),
    )
