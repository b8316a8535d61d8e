"""What a learner begins with, and what of it learns."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import worlds

from reference_models.parity import check_compiled
from sfbench.api import BuildRequest, LearnRequest
from sfbench.catalogue.registry import find_generator, load_plugin, plugin_sources


def test_training_goes_on_from_published_weights(tmp_path: Path) -> None:
    """The generator is the file's; the average begins there, too."""
    data = worlds.images(tmp_path / "data")
    first = worlds.learner("styleformer")
    worlds.trainer(first, data, tmp_path / "first", 2).run()
    first.save_weights(tmp_path / "weights.safetensors")
    plain = worlds.learner("styleformer").state_dict()
    begun = worlds.learner("styleformer", weights=tmp_path / "weights.safetensors").state_dict()
    trained = first.state_dict()["average"]
    for part in ("generator", "average"):
        assert worlds.same(begun[part], trained)
        assert not worlds.same(begun[part], plain[part])
    assert worlds.same(begun["discriminator"], plain["discriminator"])


def test_frozen_blocks_of_the_discriminator_stay(tmp_path: Path) -> None:
    data = worlds.images(tmp_path / "data")
    learner = worlds.learner("stylegan2", freeze_d=1)
    before = {n: t.clone() for n, t in learner.state_dict()["discriminator"].items()}
    worlds.trainer(learner, data, tmp_path / "run", 5).run()
    after = learner.state_dict()["discriminator"]
    frozen = {name for name in before if name.startswith("b16.")}
    assert frozen
    assert {name for name in before if torch.equal(before[name], after[name])} == frozen


@pytest.mark.parametrize("model", ["styleformer", "stylegan2"])
def test_classes_are_learned_with_their_labels(model: str, tmp_path: Path) -> None:
    """Other labels for the same pictures give another run."""
    data = worlds.images(tmp_path / "data")
    states = []
    for shift in (0, 1):
        data.labels[:] = (data.labels + shift) % data.classes
        learner = worlds.learner(model, options={"c_dim": data.classes})
        worlds.trainer(learner, data, tmp_path / str(shift), 4, conditional=True).run()
        states.append(learner.state_dict())
    assert any("embed" in name for name in states[0]["generator"])
    assert not worlds.same(states[0]["discriminator"], states[1]["discriminator"])


def test_half_precision_learns_in_the_cheaper_parts_alone(tmp_path: Path) -> None:
    data = worlds.images(tmp_path / "data")
    learner = worlds.learner("stylegan2", autocast="bfloat16", path_length=0.0)
    worlds.trainer(learner, data, tmp_path / "run", 5).run()
    tensors = learner.state_dict()["generator"] | learner.state_dict()["discriminator"]
    assert {t.dtype for t in tensors.values()} == {torch.float32}
    assert all(bool(t.isfinite().all()) for t in tensors.values())
    exact = worlds.learner("stylegan2", path_length=0.0)
    worlds.trainer(exact, data, tmp_path / "exact", 5).run()
    assert not worlds.same(exact.state_dict()["generator"], learner.state_dict()["generator"])


@pytest.mark.parametrize("architecture", ["resnet", "skip", "orig"])
def test_every_discriminator_learns_48_px(architecture: str, tmp_path: Path) -> None:
    """The size of STL-10, whose last map is 6x6."""
    data = worlds.images(tmp_path / "data", 48, 16)
    plugins = [load_plugin(source) for source in plugin_sources([], [])]
    _, spec = find_generator(plugins, "styleformer")
    options = {option.name: option.default for option in spec.options}
    settings = {option.name: option.default for option in spec.settings} | worlds.SMALL
    request = LearnRequest(
        build=BuildRequest(
            resolution=48, options=options | {"widths": (16, 8, 8), "layers": (1, 1, 1)}
        ),
        settings=settings | {"architecture": architecture},
        batch=worlds.BATCH,
        shard=worlds.BATCH,
    )
    assert spec.build_learner is not None
    learner = spec.build_learner(request)
    start = {n: t.clone() for n, t in learner.state_dict()["discriminator"].items()}
    worlds.trainer(learner, data, tmp_path / "run", 2).run()
    end = learner.state_dict()["discriminator"]
    assert not any(torch.equal(start[name], end[name]) for name in start if "weight" in name)


def test_a_compiler_that_errs_ends_the_run_before_it_began() -> None:
    inner: Any = worlds.learner("stylegan2").inner  # type: ignore[attr-defined]  # a ModuleLearner
    before = copy.deepcopy(inner.state_dict())
    check_compiled(inner, worlds.BATCH, worlds.SIDE, 4)
    assert worlds.same(before, inner.state_dict())

    def wrong(*given: Any) -> Any:
        squares, logits = inner.plain["slopes"](*given)
        return squares * 1.1, logits

    inner.functions = {**inner.plain, "slopes": wrong}
    with pytest.raises(ValueError, match="Dreg differ from plain ones"):
        check_compiled(inner, worlds.BATCH, worlds.SIDE, 4)
