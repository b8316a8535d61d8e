"""Trains the GANsformer with StyleGAN2's losses."""

from __future__ import annotations

from reference_models.checkpoints import write_checkpoint
from reference_models.learners import adversarial_learner
from sfbench.api import LearnRequest, ModuleLearner, UsageError
from sfbench_gansformer.builders import adapt, loaded


def learner(request: LearnRequest) -> ModuleLearner:
    """Return the learner of the GANsformer; raises UsageError for invalid settings."""
    network, config = loaded(request.build)
    attention = (config.attention, config.mapping_attention)
    if any(one is not None and one.dropout for one in attention):
        msg = (
            "training leaves no attention out (a resumed run would differ): use option preset=nano"
        )
        raise UsageError(msg)
    try:
        inner = adversarial_learner(network, request)
    except ValueError as error:
        raise UsageError(str(error)) from None
    return ModuleLearner(
        inner,
        build=lambda: adapt(inner.average, config, request.build),
        write=lambda path: write_checkpoint(path, inner.average, config),
    )
