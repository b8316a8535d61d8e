"""Trains the Styleformer family."""

from __future__ import annotations

from collections.abc import Callable

from reference_models.checkpoints import Config, write_checkpoint
from reference_models.learners import adversarial_learner
from reference_models.style_generator import StyleGenerator
from sfbench.api import BuildRequest, LearnRequest, ModuleLearner, UsageError
from sfbench_styleformer.builders import adapt


def learner(
    request: LearnRequest, load: Callable[[BuildRequest], tuple[StyleGenerator, Config]]
) -> ModuleLearner:
    """Return the learner of the model that `load` loads; raises UsageError for invalid settings."""
    if request.build.options["kernels"] != "torch":
        msg = "option kernels=native: training computes with torch's operations; leave it out"
        raise UsageError(msg)
    module, config = load(request.build)
    try:
        inner = adversarial_learner(module, request)
    except ValueError as error:
        raise UsageError(str(error)) from None
    return ModuleLearner(
        inner,
        build=lambda: adapt(inner.average, config, request.build),
        write=lambda path: write_checkpoint(path, inner.average, config),
    )
