"""Plans as files, workers that carry them out, and how they stand."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from making import a_case, a_catalogue, a_job, a_model, a_record
from making_images import images
from working import MACHINE

from sfbench.api import GeneratorSpec
from sfbench.api.errors import DataError
from sfbench.hardware.devices import find_backend
from sfbench.quality.image_sets import GeneratedImages
from sfbench.run.schedule import pending_trials
from sfbench.run.standing import write_trials
from sfbench.store.claims import Claims
from sfbench.store.runs import Store
from sfbench.trial.preparing import check_files
from sfbench.trial.state import Trial
from sfbench.values.case import Source
from sfbench.values.plan import Plan

Command = Callable[..., subprocess.CompletedProcess[str]]
SUITE = """
[[run]]
model = "synthetic"
res = "8,16"
measure = "quality"
samples = 16
threads = 1
"""


@pytest.fixture
def plan(tmp_path: Path, sfbench: Command) -> Path:
    """Return the file of a plan of two trials."""
    (tmp_path / "suite.toml").write_text(SUITE)
    done = sfbench("plan", "--suite", "suite.toml", "--out", "plan.json")
    assert done.returncode == 0, done.stderr
    assert "2 trials" in done.stdout
    return tmp_path / "plan.json"


def standing(sfbench: Command, *more: str) -> dict[str, Any]:
    done = sfbench("status", *more, "--json")
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)
    return dict(found)


def test_a_plan_is_carried_out_in_parts_and_stands_as_the_store_says(
    plan: Path, sfbench: Command
) -> None:
    del plan
    work = ("work", "--plan", "plan.json", "--store", "S")
    first = sfbench(*work, "--limit", "1")
    assert first.returncode == 1
    assert "1 trial left, 0 failed" in first.stderr
    half = standing(sfbench, "plan.json", "--store", "S")
    assert (half["total"], half["done"], half["left"], half["running"]) == (2, 1, 1, [])
    assert half["seconds_left"] > 0
    second = sfbench(*work)
    assert second.returncode == 0, second.stderr
    assert "1 trial to measure, 1 already measured" in second.stderr
    whole = standing(sfbench, "plan.json", "--store", "S")
    assert (whole["done"], whole["left"]) == (2, 0)
    assert "2 of 2 done" in sfbench("status", "plan.json", "--store", "S", "--watch").stdout
    # A run of the same suite has nothing left to do.
    again = sfbench("run", "--suite", "suite.toml", "--store", "S")
    assert "0 trials to measure, 2 already measured" in again.stderr


def test_a_worker_refuses_files_of_another_content_before_it_measures(
    tmp_path: Path, sfbench: Command
) -> None:
    images(tmp_path / "real.zip", 0)
    suite = SUITE + 'data = "real.zip"\n'
    (tmp_path / "suite.toml").write_text(suite.replace("8,16", "8"))
    assert sfbench("plan", "--suite", "suite.toml", "--out", "plan.json").returncode == 0
    images(tmp_path / "real.zip", 1)
    done = sfbench("work", "--plan", "plan.json", "--store", "S")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "data is files, sha256" in done.stderr
    assert "in the plan" in done.stderr
    assert not (tmp_path / "S").exists()
    (tmp_path / "real.zip").unlink()
    gone = sfbench("work", "--plan", "plan.json", "--store", "S")
    assert gone.returncode == 2
    assert "real.zip" in gone.stderr


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "not a plan that sfbench"),
        ("[]", "not a plan that sfbench"),
        ('{"schema": 2}', "not a plan that sfbench"),
        (None, "no such file"),
    ],
)
def test_what_is_no_plan_is_refused_in_one_line(
    tmp_path: Path, sfbench: Command, text: str | None, complaint: str
) -> None:
    if text is not None:
        (tmp_path / "plan.json").write_text(text)
    done = sfbench("work", "--plan", "plan.json", "--store", "S")
    assert done.returncode == 2
    assert complaint in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_plan_that_runs_code_needs_trust(tmp_path: Path, plan: Path, sfbench: Command) -> None:
    document = json.loads(plan.read_text())
    evil = tmp_path / "evil.py"
    evil.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    plan.write_text(json.dumps({**document, "plugins": [str(evil)]}))
    done = sfbench("work", "--plan", "plan.json", "--store", "S")
    assert done.returncode == 2
    assert "runs code" in done.stderr
    assert not (tmp_path / "ran").exists()
    strays: list[dict[str, Any]] = [
        {"trust": True, "model": "synthetic"}, {"model": "synthetic", "x": 1}, {}, {"model": 5},
        {"model": "synthetic", "res": 8}, {"model": "synthetic", "seed": "x"},
    ]  # fmt: skip
    for stray in strays:
        plan.write_text(json.dumps({**document, "requests": [stray]}))
        refused = sfbench("work", "--plan", "plan.json", "--store", "S")
        assert refused.returncode == 2
        assert refused.stderr.count("\n") == 1


def test_a_folder_of_a_plan_holds_no_code(tmp_path: Path, sfbench_process: Command) -> None:
    """A training run that a plan asks for does not import what lies where the plan says it begins."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "json.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    (tmp_path / "suite.toml").write_text(
        '[[run]]\nmodel = "styleformer"\nres = 32\nmeasure = "quality"\nsamples = 16\n'
        'option = { preset = "nano" }\nweights = "random"\ntrain_kimg = 0.032\nthreads = 1\n'
    )
    assert sfbench_process("plan", "--suite", "suite.toml", "--out", "plan.json").returncode == 0
    document = json.loads((tmp_path / "plan.json").read_text())
    (tmp_path / "plan.json").write_text(json.dumps({**document, "folder": str(folder)}))
    done = sfbench_process("work", "--plan", "plan.json", "--store", "S")
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "ran").exists()
    assert "1 trial to measure" in done.stderr


def test_images_that_change_while_they_are_read_give_no_number(
    tmp_path: Path, sfbench: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And leave nothing in the cache of features under the digest of what was there before."""
    images(tmp_path / "real.zip", 0)
    asked = ("run", "--model", "synthetic", "--res", "8", "--measure", "quality", "--samples", "16")
    real = GeneratedImages.check_unchanged

    def changed(image_set: GeneratedImages) -> None:
        images(tmp_path / "real.zip", 1)  # between the check and the reading
        real(image_set)

    monkeypatch.setattr(GeneratedImages, "check_unchanged", changed)
    done = sfbench(*asked, "--data", "real.zip", "--store", "S")
    assert "its content changed while it was in use" in done.stderr
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    images(tmp_path / "real.zip", 0)
    cache = tmp_path / "cache"
    assert not list(cache.rglob("*.npz")) if cache.exists() else True
    again = sfbench(*asked, "--data", "real.zip", "--store", "S", "--json")
    other = sfbench(*asked, "--data", "real.zip", "--store", "T", "--json")
    values = [
        {
            r["metric"]: r["value"]
            for r in json.loads(one.stdout)[0]["readings"]
            if "fd[" in r["metric"]
        }
        for one in (again, other)
    ]
    assert values[0] == values[1] != {}


@pytest.mark.fast
def test_weights_that_change_after_the_plan_give_no_number(tmp_path: Path) -> None:
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(b"others")
    case = a_case(weights=Source(kind="file", path=str(weights), sha256="0" * 64))
    trial = Trial(a_job(case), lambda _: None)
    trial.spec = GeneratorSpec(name="m", summary="", build=lambda _: None, resolutions=(32,))  # type: ignore[arg-type,return-value]
    with pytest.raises(DataError, match="its content changed since it was planned"):
        check_files(trial)


def test_rows_that_make_one_case_are_one_trial(tmp_path: Path, sfbench: Command) -> None:
    (tmp_path / "suite.toml").write_text(SUITE + SUITE + 'device = "cpu"\n')
    assert "2 trials" in sfbench("plan", "--suite", "suite.toml", "--out", "plan.json").stdout
    assert sfbench("work", "--plan", "plan.json", "--store", "S").returncode == 0
    assert standing(sfbench, "plan.json", "--store", "S")["left"] == 0


def test_a_plan_for_a_device_that_is_elsewhere_can_be_made_here(
    tmp_path: Path, sfbench: Command
) -> None:
    (tmp_path / "suite.toml").write_text(SUITE + 'device = "cuda"\n')
    done = sfbench("plan", "--suite", "suite.toml", "--out", "plan.json")
    assert done.returncode == 0, done.stderr
    if not find_backend("cuda").present():
        refused = sfbench("work", "--plan", "plan.json", "--store", "S")
        assert refused.returncode == 2
        assert "no such device here" in refused.stderr
    other = sfbench("work", "--plan", "plan.json", "--store", "S", "--device", "cpu")
    assert other.returncode == 2
    assert "asks for cuda" in other.stderr


def test_the_standing_tells_of_claims_stale_ones_and_failures(
    tmp_path: Path, plan: Path, sfbench: Command
) -> None:
    store = Store(tmp_path / "S")
    store.prepare()
    (found,) = json.loads(sfbench("status", str(plan), "--store", "S", "--json").stdout)
    assert (found["total"], found["left"]) == (2, 2)
    assert "no worker has begun" in sfbench("status", "plan.json", "--store", "S").stdout
    # A worker that began, and measured nothing.
    cases = [a_case(resolution=side, measure=("quality",)) for side in (8, 16, 24, 32)]
    trials = pending_trials(Plan(cases=tuple(cases)), a_catalogue(a_model()), store, MACHINE)
    name = found["plan"]
    write_trials(store, name, trials)
    first, second, third, fourth = (trial.name for trial in trials)
    fresh = Claims(store.claims, {"job": "17_3", "device": "GPU-1"}).take(first, "one")
    old = Claims(store.claims, {"process": ""}).take(second, "two")
    Claims(store.claims, {"plan": name}).take("training-x", "training")
    Claims(store.claims, {"plan": "another"}).take("c", "three")
    assert fresh is not None
    assert old is not None
    fresh.say("latency")
    os.utime(Claims(store.claims).path(second, 0), (0, 0))
    store.add(a_record(identity=trials[2].identity, status="error", reason="it broke"))
    store.add(a_record(identity="of no plan"))
    counted = standing(sfbench, "plan.json", "--store", "S")
    assert [one["what"] for one in counted["running"]] == ["one", "training"]
    assert [one["what"] for one in counted["stale"]] == ["two"]
    assert [one["reason"] for one in counted["failed"]] == ["it broke"]
    assert (counted["total"], counted["done"], counted["left"]) == (4, 0, 1)
    told = sfbench("status", "plan.json", "--store", "S").stdout
    assert "0 of 4 done, 2 running, 1 stale, 1 failed, 1 left" in told
    assert "GPU-1" in told
    assert "latency, job 17_3" in told
    assert {third, fourth}
    # A claim of what is done, whose owner died at the end, is no work in progress.
    store.add(a_record(identity=trials[1].identity))
    assert standing(sfbench, "plan.json", "--store", "S")["stale"] == []
    missing = sfbench("status", "nowhere")
    assert missing.returncode == 2
    assert "no store of records" in missing.stderr


def test_a_store_without_plans_stands_as_its_records_and_claims(
    tmp_path: Path, sfbench: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "S")
    store.prepare()
    store.add(a_record())
    claim = Claims(store.claims).take("c", "three")
    assert claim is not None
    assert "1 done, 1 running" in sfbench("status", "S").stdout
    claim.release()
    assert sfbench("status", "S", "--watch").returncode == 0  # nobody works

    def refused(_: Store) -> None:
        raise PermissionError(13, "Permission denied", "S/runs")

    monkeypatch.setattr(Store, "look_again", refused)
    done = sfbench("status", "S")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "S/runs: cannot be read (Permission denied)" in done.stderr


def test_sigterm_ends_a_worker_within_seconds_and_releases_its_claim(
    tmp_path: Path, plan: Path, sfbench: Command
) -> None:
    del sfbench
    suite = SUITE.replace("quality", "speed").replace('"8,16"', '"64"')
    (tmp_path / "suite.toml").write_text(suite.replace("samples = 16", "blocks = 400"))
    program = [sys.executable, "-m", "sfbench"]
    made = [*program, "plan", "--suite", "suite.toml", "--out", str(plan)]
    subprocess.run(made, cwd=tmp_path, check=True, capture_output=True)
    work = [*program, "work", "--plan", str(plan), "--store", "S"]
    worker = subprocess.Popen(work, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    claims = Claims(tmp_path / "S" / "claims")
    deadline = time.monotonic() + 60
    while not any(one.owner.get("phase") for one in claims.holders()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    began = time.monotonic()
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(30) == 130
    assert time.monotonic() - began < 10
    assert list(claims.files()) == []
    assert worker.stderr is not None
    worker.stderr.close()


@pytest.mark.fast
def test_a_store_that_cannot_be_written_to_is_refused_before_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sfbench: Command
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    done = sfbench("run", "--model", "synthetic", "--res", "8", "--store", "S")
    assert done.returncode == 2
    assert "No space left on device" in done.stderr
    assert list((tmp_path / "S" / "runs").iterdir()) == []


def test_records_and_features_follow_the_umask(
    tmp_path: Path, plan: Path, sfbench: Command
) -> None:
    before = os.umask(0o002)
    try:
        assert sfbench("work", "--plan", str(plan), "--store", "S").returncode == 0
    finally:
        os.umask(before)
    files = [path for path in (tmp_path / "S").rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o664}
    folders = [path for path in (tmp_path / "S").rglob("*") if path.is_dir()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in folders} == {0o775}
