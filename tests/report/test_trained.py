"""Training logs on the page: of sfbench train, and of any program that writes for TensorBoard."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sfbench.api.errors import DataError
from sfbench.report.figure import Look
from sfbench.store.training_runs import TrainingRun, runs_of_store, training_runs


def write_run(folder: Path) -> None:
    folder.mkdir(parents=True)
    asked = {"identity": "x", "asked": {"model": "m", "resolution": 32}}
    (folder / "run.json").write_text(json.dumps(asked))
    (folder / "log.jsonl").write_text('{"step": 1, "kimg": 1.0, "quality/fid": 3.0}\n{"step": 2')


@pytest.mark.fast
def test_a_run_is_read_and_a_line_that_was_cut_off_left_out(tmp_path: Path) -> None:
    write_run(tmp_path / "training" / "run")
    (found,) = training_runs(tmp_path / "training" / "run")
    assert (found.name, found.asked["model"], len(found.lines)) == ("run", "m", 1)
    (tmp_path / "training" / "empty").mkdir()
    assert [run.name for run in runs_of_store(tmp_path)] == ["run"]


@pytest.mark.fast
def test_a_damaged_run_of_a_store_is_passed_over(tmp_path: Path) -> None:
    for name in ("good", "bad"):
        write_run(tmp_path / "training" / name)
    (tmp_path / "training" / "bad" / "run.json").write_text("{}")
    log = tmp_path / "training" / "good" / "log.jsonl"
    log.write_text(log.read_text() + "\n[1]\n3\n")
    assert [(run.name, len(run.lines)) for run in runs_of_store(tmp_path)] == [("good", 1)]


@pytest.mark.fast
def test_without_a_distance_the_loss_is_drawn_and_named_for_what_it_is() -> None:
    from sfbench.report.training_figure import training

    lines = [{"step": n, "kimg": float(n), "G/loss": 1.0 / n} for n in (1, 2)]
    run = TrainingRun(name="r", asked={}, lines=lines)
    figure = training([run, run], Look(()))
    assert figure is not None
    assert "does not track image quality" in figure.text
    assert figure.frame["label"].unique().tolist() == ["r", "r #2"]


@pytest.mark.fast
def test_a_folder_without_a_log_is_an_error_of_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no training log; expected log\.jsonl"):
        training_runs(tmp_path)


def test_event_files_are_read(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard: the test group has it")
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(tmp_path / "run")) as writer:
        for step, value in ((0, 200.0), (10, 50.0)):
            writer.add_scalar("fid", value, step)
            writer.add_scalar("loss", 1.0, step)
    with SummaryWriter(str(tmp_path / "run" / "other")) as writer:
        writer.add_scalar("fid", 7.0, 3)
    found, other = training_runs(tmp_path / "run")
    assert (found.name, other.name) == ("run", "run/other")
    assert found.asked == {}
    assert [(line["step"], line["fid"]) for line in found.lines] == [(0, 200.0), (10, 50.0)]
    from sfbench.report.training_figure import training

    figure = training([found, other], Look(()))
    assert figure is not None
    assert figure.frame["value"].tolist() == [200.0, 50.0, 7.0]
    assert figure.frame["label"].tolist() == ["run", "run", "run/other"]
    assert figure.frame["kimg"].isna().all()
    assert '"step"' in figure.chart.to_json()
