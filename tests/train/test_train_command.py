from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import worlds

from sfbench.cli.training import Asked, Shown
from sfbench.train.state import load_state, states

Command = Callable[..., subprocess.CompletedProcess[str]]
SIZES = ("--option", "channel_base=128", "--option", "channel_max=8", "--set", "d_channel_base=128")
SHORT = ("--set", "d_channel_max=8", "--metrics", "0", "--batch", "8", "--res", "16")
ASKED = ("train", "--model", "stylegan2", "--subset", "60", "--seed", "1", *SIZES, *SHORT)


def test_a_run_is_trained_measured_and_told_from_another(sfbench: Command, tmp_path: Path) -> None:
    done = sfbench(*ASKED, "--out", "run", "--kimg", "0.048", "--threads", "1", "--json")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines[-1]["step"] == 6
    assert lines[-1]["seconds_left"] == 0
    assert lines[-1]["teraflops"] > 0
    assert (tmp_path / "run" / "pictures" / "0000000.0.png").is_file()
    assert list((tmp_path / "run" / "tensorboard").glob("events.*"))
    asked = ("--model", "stylegan2", "--res", "16", "--weights", "run", "--measure", "quality")
    measured = sfbench("run", *asked, "--samples", "32", "--json")
    assert measured.returncode == 0, measured.stderr
    (record,) = json.loads(measured.stdout)
    identity = json.loads((tmp_path / "run" / "run.json").read_text())["identity"]
    assert record["provenance"]["training"]["identity"] == identity
    assert record["provenance"]["training"]["step"] == 6
    again = sfbench(*ASKED, "--out", "run", "--kimg", "0.048")
    assert again.returncode == 2
    assert "--resume" in again.stderr
    other = sfbench(*ASKED, "--out", "run", "--kimg", "0.048", "--resume", "--gamma", "3")
    assert other.returncode == 2
    assert "settings gamma is None there, 3.0 requested" in other.stderr


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--res", "16"), "--kimg"),
        (("--preset", "huge"), "has paper256"),
        (("--kimg", "1", "--set", "gama=1"), "expected NAME=VALUE with one of loss, gamma"),
        (("--kimg", "1", "--batch", "9", "--accumulate", "2"), "not divisible"),
        (("--kimg", "1", "--batch", "6", "--set", "deviation_group=4"), "deviation_group 4"),
        (("--kimg", "1", "--option", "c_dim=3"), "the images have 5 classes; set c_dim=5"),
        (("--kimg", "1", "--data", "nowhere"), "not a file or folder"),
        (("--kimg", "1", "--mode", "cuda-graph"), "expected eager or compile"),
    ],
)
def test_what_cannot_be_trained_is_said_in_one_line(
    flags: tuple[str, ...], words: str, sfbench: Command
) -> None:
    done = sfbench("train", "--model", "stylegan2", "--subset", "20", "--out", "run", *flags)
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error")]
    assert words in line


@pytest.mark.fast
def test_augmentation_that_stands_at_its_limit_is_said_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown = Shown(Asked(model="m", data="d", out=Path("r")), quiet=False, as_json=False)
    line = {"kimg": 1.0, "seconds_per_kimg": 2.0, "seconds_left": 3.0, "peak_bytes": None}
    for limited in (0.0, 0.5, 1.0, 1.0):
        shown.line({**line, "augment/p": 0.85, "augment/limited": limited})
    said = capsys.readouterr().err
    assert said.count("warning: augmentation is at its limit, p 0.85") == 1


def start(folder: Path, out: str, kimg: str, processes: int) -> subprocess.Popen[str]:
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m"]
    command = [sys.executable, *(launch if processes > 1 else ["-m"]), "sfbench"]
    return subprocess.Popen(
        [*command, *ASKED, "--out", out, "--kimg", kimg, "--threads", "1", "--resume"],
        cwd=folder,
        env=os.environ | {"XDG_CACHE_HOME": str(folder / "cache")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )


@pytest.mark.parametrize("processes", [1, 2])
def test_killed_runs_end_with_the_same_bits(processes: int, tmp_path: Path) -> None:
    kimg = "0.4"
    whole = start(tmp_path, "whole", kimg, processes)
    assert whole.wait(timeout=300) == 0
    killed = 0
    for _ in range(20):
        child = start(tmp_path, "cut", kimg, processes)
        before = newest(tmp_path / "cut")
        while killed < 2 and child.poll() is None and newest(tmp_path / "cut") <= before:
            time.sleep(0.05)
        if killed < 2 and child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            killed += 1
            continue
        assert child.wait(timeout=300) == 0
        break
    assert killed == 2
    ends = [load_state(tmp_path / name) for name in ("whole", "cut")]
    assert ends[0] is not None
    assert ends[1] is not None
    assert ends[0].step == ends[1].step == 50
    assert worlds.same(ends[0].tree["learner"], ends[1].tree["learner"])


def newest(folder: Path) -> int:
    """Return the step of the newest state; -1 without one."""
    found = states(folder)
    return int(found[0].stem.partition("-")[2]) if found else -1
