from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import worlds

from sfbench.api.errors import DataError
from sfbench.train.guard import DivergedError, Guard
from sfbench.train.loop import Listener, Tick
from sfbench.train.state import finite, load_state, packed, states, write_state


class Interrupter(Listener):
    def __init__(self, at: int) -> None:
        self.at = at
        self.lines: list[Tick] = []

    def tick(self, tick: Tick) -> None:
        self.lines.append(tick)
        if tick.step >= self.at:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("model", "augment"),
    [*((model, "ada") for model in worlds.SIZES), ("stylegan2", "diffaugment")],
)
def test_an_interrupted_run_ends_as_if_it_had_not_been(
    model: str, augment: str, tmp_path: Path
) -> None:
    data = worlds.images(tmp_path / "data", worlds.side_of(model))
    settings = {"augment": augment, "ada_start": 0.3, "ada_kimg": 1.0}
    whole = worlds.learner(model, **settings)
    worlds.trainer(whole, data, tmp_path / "whole", 9).run()
    listener = Interrupter(6)
    first = worlds.trainer(
        worlds.learner(model, **settings), data, tmp_path / "cut", 9, listener=listener
    )
    with pytest.raises(KeyboardInterrupt):
        first.run()
    again = worlds.learner(model, **settings)
    second = worlds.trainer(again, data, tmp_path / "cut", 9)
    assert second.resume() is None
    assert second.step == 6
    second.run()
    assert worlds.same(whole.state_dict(), again.state_dict())


def test_a_damaged_state_gives_way_to_the_one_before(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        write_state(
            tmp_path, packed(step, {"x": torch.full((3,), float(step)), "n": [1, "a", None]})
        )
    assert len(states(tmp_path)) == 2
    newest = states(tmp_path)[0].with_suffix(".safetensors")
    newest.write_bytes(newest.read_bytes()[:-1])
    found = load_state(tmp_path)
    assert found is not None
    assert found.step == 2
    assert found.tree["n"] == [1, "a", None]
    assert "state-000000000003" in str(found.complaint)
    for path in tmp_path.glob("*.safetensors"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match="no usable state"):
        load_state(tmp_path)
    assert load_state(tmp_path / "nothing") is None


def test_integer_keys_and_optimizer_states_survive_a_file(tmp_path: Path) -> None:
    learner = worlds.learner("stylegan2")
    state = learner.state_dict()
    write_state(tmp_path, packed(0, state))
    found = load_state(tmp_path)
    assert found is not None
    learner.load_state_dict(found.tree)
    assert worlds.same(learner.state_dict(), state)


def test_losses_that_are_no_numbers_lead_back_and_at_last_to_an_end(tmp_path: Path) -> None:
    data = worlds.images(tmp_path / "data")
    learner = worlds.learner("stylegan2", augment="none")
    went: list[tuple[list[str], int, float]] = []

    class Told(Listener):
        def went_back(self, phases: list[str], step: int, factor: float) -> None:
            went.append((phases, step, factor))

    run = worlds.trainer(learner, data, tmp_path / "run", 30, listener=Told())
    real = learner.phases

    def poisoned(step: int) -> Any:
        for phase in real(step):
            if step == 4 and phase.name == "Dmain":
                with torch.no_grad():
                    phase.parameters[0].fill_(float("nan"))
            yield phase

    learner.phases = poisoned  # type: ignore[method-assign]
    with pytest.raises(DivergedError, match="3 times"):
        run.run()
    assert [factor for _, _, factor in went] == [0.5, 0.25, 0.125]
    assert all("Dmain" in phases for phases, _, _ in went)
    found = load_state(tmp_path / "run")
    assert found is not None
    assert finite(found.tree["learner"])


def test_the_rate_returns_when_a_careful_time_is_over() -> None:
    guard = Guard()
    assert guard.strike(["Gmain"], 1000) == 0.5
    assert not guard.well(2999)
    assert guard.well(3000)
    assert guard.factor == 1.0


def test_the_order_of_an_epoch_holds_every_image_once_and_once_mirrored(tmp_path: Path) -> None:
    data = worlds.images(tmp_path / "data")
    run = worlds.trainer(worlds.learner("stylegan2"), data, tmp_path / "run", 1)
    rows = [run.loader.rows(step) for step in range(2 * len(data) // worlds.BATCH)]
    seen = sorted(
        (int(i), bool(m)) for order, flipped in rows for i, m in zip(order, flipped, strict=True)
    )
    assert seen == sorted((i, m) for i in range(len(data)) for m in (False, True))
    shard = run.loader.shard(0, 0, 1)
    pair = [run.loader.shard(0, index, 2) for index in (0, 1)]
    assert torch.equal(shard.images[1::2], pair[1].images)
    assert torch.equal(shard.normal("z", 5)[0::2], pair[0].normal("z", 5))
    assert shard.number("cut") == pair[1].number("cut")
    assert not torch.equal(shard.normal("z", 5), run.loader.shard(1, 0, 1).normal("z", 5))


def test_a_log_is_cut_back_to_its_state(tmp_path: Path) -> None:
    from sfbench.store.training_runs import read_lines
    from sfbench.train.log import RunLog

    log = RunLog(tmp_path, 0)
    for step in (1, 2, 3):
        log.add({"step": step, "kimg": 1.0})
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 4, "ki')
    RunLog(tmp_path, 2)
    assert [line["step"] for line in read_lines(tmp_path)] == [1, 2]
    assert json.loads((tmp_path / "log.jsonl").read_text().splitlines()[0])["step"] == 1
