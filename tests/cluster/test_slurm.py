"""Workers under a real Slurm: nodes die, devices are shared, and the store is as of one local run."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from slurm_here import Slurm

PROGRAM = [sys.executable, "-m", "sfbench"]
FAKES = Path(__file__).with_name("two_gpus")
TRIALS = int(os.environ.get("SFBENCH_CLUSTER_TRIALS", "40"))
KILLS = 3
CASES = 4
QUALITY = """
[[run]]
model = "synthetic"
res = "8,16,24,32"
measure = "quality"
samples = 16
threads = 1
"""
LARGE = """
[[run]]
model = "styleformer"
res = 32
measure = "quality"
samples = 4200
threads = 1
option = { preset = "nano" }
"""
SPEED = """
[[run]]
model = "synthetic"
res = "8,16"
measure = "speed"
threads = 1
blocks = 4
block_seconds = 0.05
warmup_seconds = 0.1
latency_calls = 5
"""


def run(
    words: list[str], folder: Path, environment: Mapping[str, str], **more: Any
) -> subprocess.CompletedProcess[str]:
    """Run an sfbench command to its end."""
    return subprocess.run(
        [*PROGRAM, *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        **more,
    )


def records(store: Path) -> list[dict[str, Any]]:
    """Return the records of a store."""
    return [json.loads(path.read_text()) for path in sorted((store / "runs").glob("*.json"))]


def told(found: list[dict[str, Any]]) -> dict[Any, Any]:
    """Return the values that have to be equal to the last bit, by identity and trial."""
    return {
        (one["identity"], one["trial"]): [
            (reading["metric"], reading["value"])
            for reading in one["readings"]
            if not reading["metric"].startswith("cold.")
        ]
        for one in found
        if one["status"] == "ok"
    }


def environment_of(slurm: Slurm, folder: Path, **more: str) -> dict[str, str]:
    """Return the environment of a user of the cluster, with a cache of their own."""
    return {**slurm.environment, "XDG_CACHE_HOME": str(folder / "cache"), **more}


@pytest.mark.timeout(1500)
def test_killed_nodes_lose_nothing(slurm: Slurm, tmp_path: Path) -> None:
    (tmp_path / "suite.toml").write_text(QUALITY)
    environment = environment_of(slurm, tmp_path)
    count = str(TRIALS // CASES)
    words = ["run", "--suite", "suite.toml", "--trials", count, "--store"]
    cluster = ["--on", "slurm", "--workers", "4", "--slurm", "cpus-per-task=2"]
    with (tmp_path / "out").open("wb") as out:
        following = subprocess.Popen(
            [*PROGRAM, *words, "S", *cluster], cwd=tmp_path, env=environment, stderr=out, stdout=out
        )
        chance = random.Random(7)  # noqa: S311  # moments, not secrets
        for number in range(KILLS):
            enough = (number + 1) * TRIALS // (KILLS + 2)
            while len(list((tmp_path / "S" / "runs").glob("*.json"))) < enough:
                assert following.poll() is None, (tmp_path / "out").read_text()
                time.sleep(0.2)
            time.sleep(chance.uniform(0, 2))
            node = f"n{number % 2 + 1}"
            slurm.kill_node(node)
            time.sleep(2)
            slurm.start_node(node)
        assert following.wait(1200) == 0, (tmp_path / "out").read_text()[-3000:]
    local = run([*words, "L"], tmp_path, environment)
    assert local.returncode == 0, local.stderr
    mine, theirs = records(tmp_path / "S"), records(tmp_path / "L")
    assert len(told(mine)) == TRIALS
    assert told(mine) == told(theirs)
    ok = [one for one in mine if one["status"] == "ok"]
    assert len(ok) == TRIALS
    assert list((tmp_path / "S" / "claims").iterdir()) == []
    logs = "".join(path.read_text() for path in (tmp_path / "S" / "logs").rglob("*.log"))
    begun = len(re.findall(r"^\[\d+/\d+\] [^:]*: quality( trial \d+)?$", logs, re.MULTILINE))
    print(f"{TRIALS} trials, {KILLS} nodes killed, {begun - TRIALS} trials begun again")
    assert TRIALS <= begun <= TRIALS + 2 * KILLS  # two workers a node
    state = run(["status", "S", "--json"], tmp_path, environment)
    (standing,) = json.loads(state.stdout)
    assert (standing["done"], standing["left"], standing["stale"]) == (TRIALS, 0, [])


def test_a_large_evaluation_by_four_tasks_has_the_bits_of_one_process(
    slurm: Slurm, tmp_path: Path
) -> None:
    (tmp_path / "suite.toml").write_text(LARGE)
    environment = environment_of(slurm, tmp_path)
    made = run(["plan", "--suite", "suite.toml", "--out", "plan.json"], tmp_path, environment)
    assert made.returncode == 0, made.stderr
    work = [*PROGRAM, "work", "--plan", "plan.json", "--store"]
    together = subprocess.run(
        ["srun", "--ntasks=4", "--overcommit", *work, "S"],  # noqa: S607  # whichever Slurm is here
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert together.returncode == 0, together.stderr
    assert "helping with styleformer" in together.stderr
    alone = run([*work[3:], "L"], tmp_path, {**environment, "XDG_CACHE_HOME": str(tmp_path / "c")})
    assert alone.returncode == 0, alone.stderr
    mine, theirs = records(tmp_path / "S"), records(tmp_path / "L")
    assert len(mine) == 1
    assert told(mine) == told(theirs)
    assert list((tmp_path / "S" / "claims").iterdir()) == []
    assert list((tmp_path / "S" / "shards").iterdir()) == []


def test_timed_trials_never_share_a_device_and_records_name_it(
    slurm: Slurm, tmp_path: Path
) -> None:
    (tmp_path / "suite.toml").write_text(SPEED)
    environment = environment_of(slurm, tmp_path, PYTHONPATH=str(FAKES))
    words = ["run", "--suite", "suite.toml", "--trials", "3", "--store", "S", "--on", "slurm"]
    cluster = ["--workers", "4", "--slurm", "gres=gpu:1", "--slurm", "exclusive=no"]
    done = run([*words, *cluster], tmp_path, environment, timeout=500)
    assert done.returncode == 0, done.stderr
    found = records(tmp_path / "S")
    assert len(found) == 6
    spans: dict[str, list[tuple[float, float]]] = {}
    for one in found:
        began = dt.datetime.fromisoformat(one["started"]).timestamp()
        spans.setdefault(one["provenance"]["gpu"]["uuid"], []).append(
            (began, began + one["seconds"])
        )
    assert set(spans) == {"GPU-zero", "GPU-full"}
    for device in spans.values():
        ordered = sorted(device)
        # Starts are whole seconds.
        assert all(a[1] <= b[0] + 1 for a, b in itertools.pairwise(ordered)), ordered
    locks = {path.name for path in (tmp_path / "S" / "hosts").rglob("*.lock")}
    assert locks == {"GPU-zero.lock", "GPU-full.lock"}


def test_several_devices_of_one_machine_have_a_worker_each(tmp_path: Path, slurm: Slurm) -> None:
    (tmp_path / "suite.toml").write_text(SPEED)
    environment = environment_of(slurm, tmp_path, PYTHONPATH=str(FAKES))
    asked = ["run", "--model", "synthetic", "--res", "8,16", "--measure", "speed", "--trials", "2"]
    short = ["--blocks", "4", "--block-seconds", "0.05", "--latency-calls", "5"]
    words = [*asked, *short, "--threads", "1", "--store", "S", "--device", "cpu:all"]
    done = run(words, tmp_path, environment, timeout=500)
    assert done.returncode == 0, done.stderr
    found = records(tmp_path / "S")
    assert len(found) == 4
    assert {one["provenance"]["gpu"]["uuid"] for one in found} == {"GPU-zero", "GPU-full"}
    # A scheduler that shows one of them changes no identity: nothing is left to measure.
    hidden = {**environment, "CUDA_VISIBLE_DEVICES": "1"}
    again = run([*words[:-1], "cpu"], tmp_path, hidden)
    assert "0 trials to measure, 4 already measured" in again.stderr
    placed = [one["provenance"]["placement"] for one in found]
    assert all(one is not None and "," not in one["cpus"] for one in placed)


def test_workers_of_several_devices_try_again_what_failed(tmp_path: Path, slurm: Slurm) -> None:
    (tmp_path / "suite.toml").write_text(SPEED)
    environment = environment_of(slurm, tmp_path, PYTHONPATH=str(FAKES))
    made = run(["plan", "--suite", "suite.toml", "--out", "plan.json"], tmp_path, environment)
    assert made.returncode == 0, made.stderr
    work = ["work", "--plan", "plan.json", "--store", "S", "--device", "cpu:all"]
    first = run([*work, "--limit", "1"], tmp_path, environment, timeout=300)
    assert first.returncode == 0, first.stderr
    assert len(records(tmp_path / "S")) == 2
    path = next((tmp_path / "S" / "runs").glob("*.json"))
    failed = json.loads(path.read_text())
    failed |= {"status": "timeout", "reason": "not finished", "readings": []}
    path.write_text(json.dumps(failed))
    again = run(work, tmp_path, environment, timeout=300)
    assert again.returncode == 0, again.stderr
    found = records(tmp_path / "S")
    assert sorted(one["status"] for one in found) == ["ok", "ok", "timeout"]
    assert {one["attempt"] for one in found if one["status"] == "ok"} == {0, 1}


def test_a_refused_submission_is_one_line_in_slurms_words(slurm: Slurm, tmp_path: Path) -> None:
    (tmp_path / "suite.toml").write_text(QUALITY)
    environment = environment_of(slurm, tmp_path)
    words = ["run", "--suite", "suite.toml", "--store", "S", "--on", "slurm"]
    done = run([*words, "--slurm", "partition=nope"], tmp_path, environment)
    assert done.returncode == 2
    (line,) = [one for one in done.stderr.splitlines() if one.startswith("error")]
    assert "invalid partition specified: nope" in line


def test_a_job_that_is_there_is_followed_and_not_submitted_again(
    slurm: Slurm, tmp_path: Path
) -> None:
    (tmp_path / "suite.toml").write_text(QUALITY)
    environment = environment_of(slurm, tmp_path)
    words = ["run", "--suite", "suite.toml", "--store", "S", "--on", "slurm"]
    first = run([*words, "--detach"], tmp_path, environment)
    assert first.returncode == 0, first.stderr
    assert "submitted as job" in first.stderr
    second = run(words, tmp_path, environment, timeout=300)
    assert second.returncode == 0, second.stderr
    assert "carries this plan out already" in second.stderr
    third = run(words, tmp_path, environment, timeout=300)
    assert third.returncode == 0, third.stderr
    assert "0 trials to measure, 4 already measured" in third.stderr
