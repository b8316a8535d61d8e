from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import worlds

from sfbench.train.engine import Engine

PHASES = ("Gmain", "Greg", "Dmain", "Dreg")


def gradients(
    model: str, parts: int, data: Any, folder: Path, dtype: torch.dtype
) -> dict[str, Any]:
    """Return the gradients of every phase of step 0, the batch cut in so many parts."""
    learner = worlds.learner(model, shard=worlds.BATCH // parts, augment="ada", ada_start=0.5,
                             deviation_group=2)  # fmt: skip
    inner = learner.inner  # type: ignore[attr-defined]
    for module in (inner.live, inner.discriminator):
        module.to(dtype)
    inner.p = inner.p.to(dtype)
    inner.path_length_average = inner.path_length_average.to(dtype)
    run = worlds.trainer(learner, data, folder, 1, engine=Engine(0, 1, parts))
    found = {}
    for phase in list(learner.phases(0)):
        shards = [run.loader.shard(0, *place) for place in run.engine.shards]
        wide = [InPrecision(shard, dtype) for shard in shards]
        before = copy.deepcopy(phase.optimizer.state_dict())
        saved = [p.detach().clone() for p in phase.parameters]
        run.update(phase, wide)
        found[phase.name] = [None if p.grad is None else p.grad.clone() for p in phase.parameters]
        with torch.no_grad():
            for parameter, value in zip(phase.parameters, saved, strict=True):
                parameter.copy_(value)
        phase.optimizer.load_state_dict(before)
    return found


class InPrecision:
    """A shard with its numbers in another precision."""

    def __init__(self, shard: Any, dtype: torch.dtype) -> None:
        self.shard, self.dtype = shard, dtype
        self.count, self.labels = shard.count, shard.labels
        self.images = shard.images.to(dtype)

    def normal(self, use: str, *shape: int) -> torch.Tensor:
        return self.shard.normal(use, *shape).to(self.dtype)

    def uniform(self, use: str, *shape: int) -> torch.Tensor:
        return self.shard.uniform(use, *shape).to(self.dtype)

    def number(self, use: str) -> float:
        return self.shard.number(use)

    def drawn_labels(self, use: str) -> Any:
        return self.shard.drawn_labels(use)


@pytest.mark.parametrize("model", ["styleformer", "stylegan2"])
@pytest.mark.parametrize(("dtype", "limit"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_gradients_do_not_depend_on_how_a_batch_is_cut(
    model: str, dtype: torch.dtype, limit: float, tmp_path: Path
) -> None:
    data = worlds.images(tmp_path / "data")
    whole = gradients(model, 1, data, tmp_path / "a", dtype)
    cut = gradients(model, 2, data, tmp_path / "b", dtype)
    assert set(whole) == set(PHASES)
    for name in PHASES:
        largest = max(g.abs().max() for g in whole[name] if g is not None)
        for one, two in zip(whole[name], cut[name], strict=True):
            assert (one is None) == (two is None)
            if one is not None:
                assert (one - two).abs().max() <= limit * largest, name
