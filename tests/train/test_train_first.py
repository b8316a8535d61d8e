"""sfbench run --train-kimg: what has no weights is trained, then measured."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

Command = Callable[..., subprocess.CompletedProcess[str]]
SIZES = ("--option", "channel_base=64", "--option", "channel_max=8")
ASKED = ("run", "--res", "8", *SIZES, "--measure", "quality", "--samples", "16", "--json")
SHORT = ("--train-kimg", "0.064", "--threads", "1", "--seed", "3")


def test_what_has_no_weights_is_trained_once_and_measured(
    sfbench_process: Command, tmp_path: Path
) -> None:
    done = sfbench_process(*ASKED, "--model", "stylegan2", *SHORT)
    assert done.returncode == 0, done.stderr
    (record,) = json.loads(done.stdout)
    (folder,) = (tmp_path / "results" / "training").iterdir()
    card = json.loads((folder / "weights.json").read_text())
    assert record["provenance"]["training"]["identity"] == card["identity"]
    assert record["provenance"]["training"]["kimg"] == 0.064
    assert record["case"]["weights"]["kind"] == "file"
    states = {path.name: path.stat().st_mtime_ns for path in folder.glob("state-*")}
    again = sfbench_process(*ASKED, "--model", "stylegan2", *SHORT)
    assert json.loads(again.stdout)[0]["identity"] == record["identity"]
    assert states == {path.name: path.stat().st_mtime_ns for path in folder.glob("state-*")}


def test_what_cannot_be_trained_takes_nothing_else_with_it(sfbench_process: Command) -> None:
    done = sfbench_process(*ASKED, "--model", "stylegan2,synthetic", *SHORT)
    assert done.returncode == 1
    assert [record["case"]["model"] for record in json.loads(done.stdout)] == ["stylegan2"]
    assert "model synthetic cannot be trained" in done.stderr


def test_training_is_for_quality_alone(sfbench_process: Command) -> None:
    asked = ("--model", "stylegan2", "--measure", "speed", "--train-kimg", "1")
    done = sfbench_process("run", *asked)
    assert done.returncode == 2
    assert "training serves quality" in done.stderr
