"""A small world to train in: learners of every built-in model, images, and loops over them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from sfbench.api import BuildRequest, LearnRequest
from sfbench.api.learning import Learner
from sfbench.catalogue.registry import find_generator, load_plugin, plugin_sources
from sfbench.data.decode import Decoding
from sfbench.data.prepare import Preparation, prepare
from sfbench.data.prepared import PreparedImages
from sfbench.data.ready import drawn
from sfbench.hardware.devices import find_backend
from sfbench.train.data_loader import DataLoader
from sfbench.train.engine import Engine
from sfbench.train.loop import Length, Listener, Trainer

torch.set_num_threads(1)
SIDE, BATCH = 16, 8
SIZES: dict[str, dict[str, Any]] = {
    "styleformer": {"widths": (16, 8), "layers": (1, 1)},
    "styleformer-linformer": {"widths": (16, 8, 8), "layers": (1, 1, 1)},
    "styleformer-c": {"widths": (16,), "layers": (1,), "split": 8, "channel_base": 128},
    "stylegan2": {"channel_base": 128, "channel_max": 8},
    "gansformer": {"preset": "nano", "channel_base": 128, "channel_max": 8},
}
SMALL = {"d_channel_base": 128, "d_channel_max": 8, "gamma": 0.1, "g_interval": 2, "d_interval": 4}


def side_of(model: str) -> int:
    return 32 if model == "styleformer-linformer" else SIDE


def images(folder: Path, side: int = SIDE, count: int = 60) -> PreparedImages:
    if not folder.exists():
        wanted = Preparation(decoding=Decoding(resolution=side))
        source = {"name": "shapes", "kind": "drawn"}
        prepare(
            drawn(side, count), folder, wanted, source=source, total=count,
            progress=lambda *_: None,
        )  # fmt: skip
    return PreparedImages(folder)


def learner(
    model: str,
    *,
    shard: int = BATCH,
    options: dict[str, Any] | None = None,
    weights: Path | None = None,
    autocast: str | None = None,
    compiled: bool = False,
    **settings: Any,
) -> Learner:
    plugins = [load_plugin(source) for source in plugin_sources([], [])]
    _, spec = find_generator(plugins, model)
    defaults = {option.name: option.default for option in spec.options}
    known = {option.name: option.default for option in spec.settings}
    request = LearnRequest(
        build=BuildRequest(
            resolution=side_of(model),
            options={**defaults, **SIZES[model], **(options or {})},
            weights=weights,
        ),
        settings={**known, **SMALL, **settings},
        batch=BATCH,
        shard=shard,
        autocast=autocast,
        compiled=compiled,
    )
    assert spec.build_learner is not None
    return spec.build_learner(request)


def trainer(
    learner: Learner,
    data: PreparedImages,
    folder: Path,
    steps: int,
    *,
    engine: Engine | None = None,
    listener: Listener | None = None,
    conditional: bool = False,
) -> Trainer:
    loader = DataLoader(
        images=data, batch=BATCH, seed=3, hflip=True, conditional=conditional,
        backend=find_backend("cpu"),
    )  # fmt: skip
    length = Length(steps=steps, tick=3, snapshot=100, save_seconds=0.0)
    return Trainer(
        learner, loader, engine or Engine(0, 1, 1), length, folder, listener or Listener()
    )


def same(a: Any, b: Any) -> bool:
    """Return whether two states are equal to the last bit."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)
