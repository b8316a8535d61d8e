"""BigGAN learns: exactly resumable, on whole batches, with an average of all of its state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import worlds

from reference_models.biggan_discriminator import BigGANDiscriminator, BigGANDiscriminatorConfig
from sfbench.api import BuildRequest, LearnRequest, UsageError
from sfbench.api.learning import Learner
from sfbench_biggan import SETTINGS, learn_biggan, learn_deep, model_options

SIDE = 32


def learner(*, deep: bool = False, shard: int = worlds.BATCH, **settings: Any) -> Learner:
    options = {option.name: option.default for option in model_options(deep=deep)}
    sizes = {"preset": "deep-nano" if deep else "nano", "channels": 2, "c_dim": 5}
    known = {option.name: option.default for option in SETTINGS}
    request = LearnRequest(
        build=BuildRequest(resolution=SIDE, options=options | sizes),
        settings={**known, "d_channels": 2, "ema_kimg": 0.01, **settings},
        batch=worlds.BATCH,
        shard=shard,
    )
    return (learn_deep if deep else learn_biggan)(request)


@pytest.mark.parametrize("deep", [False, True])
def test_a_resumed_run_ends_as_if_it_had_not_been_cut(deep: bool, tmp_path: Path) -> None:
    data = worlds.images(tmp_path / "data", SIDE)
    whole = learner(deep=deep)
    before = {name: one.clone() for name, one in whole.state_dict()["average"].items()}
    worlds.trainer(whole, data, tmp_path / "whole", 4, conditional=True).run()
    first = learner(deep=deep)
    worlds.trainer(first, data, tmp_path / "cut", 2, conditional=True).run()
    again = learner(deep=deep)
    again.load_state_dict(first.state_dict())
    assert worlds.same(first.state_dict(), again.state_dict())
    state = whole.state_dict()
    moved = {name for name, one in state["average"].items() if not torch.equal(one, before[name])}
    # Parameters, statistics and estimates of singular vectors alike.
    assert {"linear.weight", "linear.u0", "output_layer.0.stored_mean"} <= moved
    made = whole.generator()
    images = made.synthesize(made.draw_latents([0, 1]))
    assert images.shape == (2, 3, SIDE, SIDE)
    assert images.isfinite().all()
    # The generator that is measured is a copy: folding its norms leaves the average alone.
    assert "linear.u0" in whole.state_dict()["average"]
    assert worlds.same(whole.state_dict(), state)


def test_a_cut_batch_and_settings_that_cannot_be_meant_are_refused() -> None:
    with pytest.raises(UsageError, match="batch norm needs all of it"):
        learner(shard=worlds.BATCH // 2)
    with pytest.raises(UsageError, match="rate 0"):
        learner(rate=0.0)


@pytest.mark.fast
@pytest.mark.parametrize("resolution", [32, 64, 128])
def test_the_discriminator_projects_classes(resolution: int) -> None:
    config = BigGANDiscriminatorConfig(
        resolution=resolution, channels=2, classes=3, attention=(16,)
    )
    network = BigGANDiscriminator(config)
    network.reset_parameters(torch.Generator().manual_seed(0))
    images = torch.randn(3, 3, resolution, resolution)
    classes = torch.eye(3)
    with torch.no_grad():
        logits = network.eval()(images, classes)
        others = network(images, classes.roll(1, 0))
    assert logits.shape == (3, 1)
    assert not torch.allclose(logits, others)
    with pytest.raises(ValueError, match="resolution"):
        BigGANDiscriminatorConfig(resolution=48, channels=2, classes=3)
