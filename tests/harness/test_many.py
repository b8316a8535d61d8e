"""Plans as files, workers, their standing, several devices, and the script for Slurm."""

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
import yaml
from making import a_case, a_catalogue, a_model, a_record
from making_images import images
from working import MACHINE

from sfbench.api.errors import UnsupportedError, UsageError
from sfbench.hardware import places as where
from sfbench.hardware.devices import find_backend, places
from sfbench.hardware.devices.cuda import CudaBackend
from sfbench.hardware.places import Place, list_of, numbers_of
from sfbench.run.engines import slurm
from sfbench.run.engines.devices import shares
from sfbench.run.schedule import pending_trials
from sfbench.run.standing import write_trials
from sfbench.store.claims import Claims
from sfbench.store.runs import Store
from sfbench.values.plan import Plan

Command = Callable[..., subprocess.CompletedProcess[str]]
DOCS = Path(__file__).parents[2] / "docs"
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
    assert (found["total"], found["left"]) == (None, None)
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


GPUS = [
    {"name": "A", "driver": "1", "uuid": f"GPU-{letter}", "pci": f"0000:{letter}:00.0"}
    for letter in "abc"
]


@pytest.fixture
def three_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CudaBackend, "present", classmethod(lambda _: GPUS))


@pytest.mark.fast
@pytest.mark.parametrize(
    ("text", "visible", "found"),
    [
        ("cuda", None, ["GPU-a"]),
        ("cuda:2", None, ["GPU-c"]),
        ("cuda:all", None, ["GPU-a", "GPU-b", "GPU-c"]),
        ("cuda:0,cuda:2", None, ["GPU-a", "GPU-c"]),
        ("cuda:all", "2,0", ["GPU-c", "GPU-a"]),
        ("cuda:1", "2,0", ["GPU-a"]),
        ("cuda:all", "GPU-b", ["GPU-b"]),
        ("cuda:all", "1,7,0", ["GPU-b"]),
        ("cuda", "MIG-x", ["MIG-x"]),
    ],
)
@pytest.mark.usefixtures("three_gpus")
def test_devices_are_counted_among_those_that_may_be_used(
    text: str, visible: str | None, found: list[str]
) -> None:
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    chosen = places(text, environment)
    assert [place.unique for place in chosen] == found
    assert [place.shown for place in chosen] == found


@pytest.mark.fast
@pytest.mark.usefixtures("three_gpus")
def test_devices_that_are_not_there_or_do_not_belong_together_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(UnsupportedError, match="the last is cuda:2"):
        places("cuda:3", {})
    with pytest.raises(UsageError, match="devices of one kind"):
        places("cuda:0,cpu", {})
    with pytest.raises(UsageError, match="expected auto"):
        places("gpu:0", {})
    mixed = [*GPUS[:1], {**GPUS[1], "name": "B"}]
    monkeypatch.setattr(CudaBackend, "present", classmethod(lambda _: mixed))
    with pytest.raises(UsageError, match="several models \\(A, B\\)"):
        places("cuda:all", {})


@pytest.mark.fast
def test_a_gpu_has_processors_and_memory_near_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(where, "DEVICES", tmp_path)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    folder = tmp_path / "0000:3b:00.0"
    folder.mkdir()
    (folder / "numa_node").write_text("1\n")
    (folder / "local_cpulist").write_text("4-6,7\n")
    assert where.near("00000000:3B:00.0") == ((4, 5, 6, 7), 1)
    (folder / "local_cpulist").write_text("0-7\n")
    assert where.near("0000:3b:00.0") == ((), None)
    (folder / "numa_node").write_text("-1\n")
    assert where.near("0000:3b:00.0") == ((), None)
    assert where.near("0000:99:00.0") == ((), None)
    assert numbers_of("0-3,8") == [0, 1, 2, 3, 8]
    assert list_of([8, 0, 1, 2, 3]) == "0-3,8"


@pytest.mark.fast
def test_devices_near_the_same_processors_divide_them() -> None:
    def place(index: int, *processors: int) -> Place:
        return Place(kind="x", index=index, name="x", unique=f"x{index}", processors=processors)

    near = [place(0, 0, 1, 2, 3), place(1, 0, 1, 2, 3), place(2, 4, 5)]
    found = {place.index: part for place, part in shares(near)}
    assert found == {0: (0, 1), 1: (2, 3), 2: (4, 5)}


@pytest.mark.fast
@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (("--on", "pbs"), "expected slurm"),
        (("--on", "slurm", "--workers", "0"), "expected 1 to"),
        (("--on", "slurm", "--slurm", "GRES=gpu"), "expected a flag of sbatch"),
        (("--on", "slurm", "--slurm", "gres=a\nb"), "expected a flag of sbatch"),
        (("--workers", "3"), "are for --on slurm"),
    ],
)
def test_wrong_flags_of_clusters_are_refused(
    sfbench: Command, given: tuple[str, ...], complaint: str
) -> None:
    done = sfbench("run", "--model", "synthetic", "--res", "8", "--samples", "16", *given)
    assert done.returncode == 2
    assert complaint in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.fast
def test_the_script_can_be_read_and_submits_nothing(sfbench: Command, tmp_path: Path) -> None:
    asked = ("run", "--model", "synthetic", "--res", "8", "--samples", "16", "--store", "S")
    cluster = ("--on", "slurm", "--workers", "3", "--slurm", "gres=gpu:1", "--print")
    script = sfbench(*asked, *cluster).stdout
    lines = script.splitlines()
    assert lines[0] == "#!/bin/bash"
    assert "--model synthetic --res 8" in lines[1]
    flags = [line.removeprefix("#SBATCH --") for line in lines if line.startswith("#SBATCH")]
    assert {"array=0-2", "gres=gpu:1", "requeue", "exclusive", "open-mode=append"} <= set(flags)
    assert lines[-1].startswith(f"exec {sys.executable} -P -m sfbench work --plan {tmp_path}")
    plan = next((tmp_path / "S" / "plans").glob("*.json"))
    assert str(plan) in lines[-1]
    shared = sfbench(*asked, *cluster, "--slurm", "exclusive=no").stdout
    assert "exclusive" not in shared
    quality = sfbench(*asked, *cluster, "--measure", "quality").stdout
    assert "exclusive" not in quality


def programs(folder: Path, **scripts: str) -> None:
    """Write programs that stand in for Slurm's, each a shell script."""
    folder.mkdir(exist_ok=True)
    for name, text in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)


def test_what_slurm_says_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=None)
    job = tmp_path / "plan.slurm"
    with pytest.raises(slurm.SlurmError, match="sbatch: not found; --on slurm"):
        slurm.submit("x", tmp_path / "x.sh", job, tmp_path / "logs")
    assert slurm.running(job) is None
    programs(tmp_path / "bin", sbatch="echo '17;here'", squeue="echo RUNNING")
    assert slurm.submit("x", tmp_path / "x.sh", job, tmp_path / "logs") == "17"
    assert slurm.running(job) == "17"
    watched = slurm.Watched(job, 0.0)
    assert watched()
    programs(tmp_path / "bin", squeue="echo 'slurm_load_jobs error: Unable to contact' >&2; exit 1")
    assert watched()  # it is restarted, perhaps: nothing is known to be over
    with pytest.raises(slurm.SlurmError, match="squeue: slurm_load_jobs error: Unable to contact"):
        slurm.running(job)
    programs(tmp_path / "bin", squeue="echo 'error: Invalid job id specified' >&2; exit 1")
    assert not watched()
    programs(tmp_path / "bin", sbatch="echo 'sbatch: error: no\nsuch' >&2; exit 1")
    with pytest.raises(slurm.SlurmError, match=r"^sbatch: no such$"):
        slurm.submit("x", tmp_path / "x.sh", job, tmp_path / "logs")
    programs(tmp_path / "bin", sbatch="echo welcome")
    with pytest.raises(slurm.SlurmError, match="did not say the job's number"):
        slurm.submit("x", tmp_path / "x.sh", job, tmp_path / "logs")


@pytest.mark.fast
def test_the_engines_of_the_docs_start_workers() -> None:
    text = (DOCS / "cluster.md").read_text(encoding="utf-8")
    kubernetes, sky = (
        yaml.safe_load(part.partition("```")[0]) for part in text.split("```yaml\n")[1:]
    )
    (container,) = kubernetes["spec"]["template"]["spec"]["containers"]
    assert kubernetes["spec"]["completionMode"] == "Indexed"
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    commands = [container["command"], sky["run"].split()]
    commands += [
        line[line.index("sfbench work") :].split()
        for line in text.splitlines()
        if line.startswith(("parallel", "srun"))
    ]
    assert len(commands) == 4
    for command in commands:
        assert command[:2] == ["sfbench", "work"]
        assert command[2::2] == ["--plan", "--store"]
    assert commands[0][-1] in mounts
