from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest

from sfbench.hardware import leftovers
from sfbench.run.launchers import local

Command = Callable[..., subprocess.CompletedProcess[str]]
FAULTS = str(Path(__file__).with_name("misbehaving.py"))
QUICK = ("--res", "16", "--measure", "quality", "--samples", "16", "--plugin", FAULTS)


def statuses(done: subprocess.CompletedProcess[str]) -> dict[str, tuple[str, str]]:
    rows = json.loads(done.stdout)
    return {row["case"]["model"]: (row["status"], row["reason"] or "") for row in rows}


def test_every_way_to_fail_is_a_row_and_the_others_are_finished(
    sfbench_trials: Command, tmp_path: Path
) -> None:
    names = ("kill", "oom", "hang", "nan", "flags", "unsupported", "none")
    models = ",".join(f"fault-{name}" for name in names)
    done = sfbench_trials("run", "--model", models, *QUICK, "--timeout", "20", "--json")
    found = statuses(done)
    assert done.returncode == 1, done.stderr
    assert found["fault-none"] == ("ok", "")
    assert found["fault-kill"][0] == "killed"
    assert "SIGKILL" in found["fault-kill"][1]
    assert found["fault-oom"][0] == "oom"
    assert found["fault-hang"] == ("timeout", "not finished after 20 s (--timeout)")
    assert found["fault-nan"][0] == "nonfinite"
    assert found["fault-flags"][0] == "contract_failed"
    assert "threads" in found["fault-flags"][1]
    assert found["fault-unsupported"] == (
        "unsupported",
        "this model needs a machine that nobody has",
    )
    assert len(list((tmp_path / "results" / "runs").glob("*.json"))) == 7
    table = sfbench_trials("report").stdout
    assert all(f"fault-{name}" in table for name in names)


@pytest.mark.xdist_group("machine")
def test_a_process_that_lies_or_leaves_things_behind_harms_itself_alone(
    sfbench_trials: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    names = ("junk", "forge", "folder", "exit", "words", "children", "thread", "none")
    models = ",".join(f"fault-{name}" for name in names)
    stale = Path(tempfile.mkdtemp(prefix=leftovers.PREFIX))
    (stale / leftovers.LOCK).touch()
    done = sfbench_trials("run", "--model", models, *QUICK, "--timeout", "60", "--json")
    found = statuses(done)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert found["fault-none"] == ("ok", "")
    assert found["fault-junk"] == ("ok", "")
    assert found["fault-children"] == ("ok", "")
    assert found["fault-thread"] == ("ok", ""), "its process ends once its record is written"
    assert found["fault-forge"] == (
        "error", "its process left a record that the harness did not write",
    )  # fmt: skip
    assert found["fault-folder"] == ("error", "its working folder was removed while it ran")
    assert found["fault-exit"] == ("error", "its process ended with status 0: no output")
    status, reason = found["fault-words"]
    assert status == "error"
    assert len(reason) < 500
    assert reason.isprintable()
    # Nothing is left: no process in whatever session, no folder, also none of a killed run.
    assert not [p for p in processes() if f"{leftovers.MARK}={tmp_path}" in p]
    assert not list(tmp_path.glob(f"{leftovers.PREFIX}*"))


def processes() -> list[str]:
    """Return the environments of all processes."""
    found = []
    for file in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            found.append(file.read_bytes().decode(errors="replace"))
    return found


@pytest.mark.xdist_group("machine")
def test_a_worker_ends_with_its_parent(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sfbench", "run", "--model", "fault-hang", *QUICK]
    parent = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert parent.stderr is not None
    for line in parent.stderr:
        if "reference check" in line:
            break
    mine = str(tmp_path)
    assert len([p for p in processes() if leftovers.PREFIX in p and mine in p]) == 1
    parent.kill()
    parent.wait()
    parent.stderr.close()
    deadline = time.monotonic() + 10
    while [p for p in processes() if leftovers.PREFIX in p and mine in p]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.fast
def test_a_child_whose_parent_was_gone_before_it_began_ends_at_once() -> None:
    for parent, answer in ((os.getpid(), "on\n"), (1 << 22, "")):
        program = f"from sfbench.hardware import leftovers as x; x.end_with({parent}); print('on')"
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=False
        )
        assert (done.stdout, done.returncode) == (answer, int(not answer)), done.stderr


@pytest.mark.fast
def test_what_a_killed_run_left_is_ended_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = Path(tempfile.mkdtemp(prefix=leftovers.PREFIX))
    (folder / leftovers.LOCK).touch()
    orphan = subprocess.Popen(
        ["/bin/sh", "-c", "echo runs; read line"], env={leftovers.MARK: str(folder)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    assert orphan.stdin is not None
    assert orphan.stdout is not None
    assert orphan.stdout.readline() == b"runs\n"  # until it runs its environment cannot be read
    with orphan.stdin, orphan.stdout, leftovers.child_folder() as mine:
        assert orphan.wait(10) == -signal.SIGKILL
        assert list(tmp_path.iterdir()) == [mine]


@pytest.mark.fast
def test_a_folder_that_is_being_made_is_not_taken_for_abandoned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    lock = fcntl.flock

    def late(file: IO[bytes], how: int) -> None:
        if how == fcntl.LOCK_EX:
            leftovers.sweep()  # another process starts, just before the lock
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with leftovers.child_folder() as folder:
        leftovers.sweep()
        assert (folder / leftovers.LOCK).is_file()
        (folder / "output").touch()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.fast
def test_only_events_are_events() -> None:
    lines = local.EventLines()
    assert list(lines.of(b'{"phase": "a"}\n{"pha')) == [{"phase": "a"}]
    assert list(lines.of(b'se": "b", "done": 1, "total": 2, "more": 3}\n')) == [
        {"phase": "b", "done": 1, "total": 2}
    ]
    for wrong in (
        b"junk", b"{}", b"[1]", b"5", b'{"phase": 5}', b'{"phase": "x", "done": 1}', b"[" * 10_000,
        b'{"phase": "x", "done": true, "total": 2}', b'{"phase": "' + b"x" * 70_000 + b'"}', b"\xff",
    ):  # fmt: skip
        assert list(lines.of(wrong + b"\n")) == []
    assert list(lines.of(b"x" * 10**6)) == []
    assert len(lines.rest) <= local.LONGEST_LINE


def test_a_whole_trial_measures_everything_once(sfbench: Command) -> None:
    command = ("run", "--model", "fault-none", "--res", "16", "--samples", "16", "--plugin", FAULTS)
    command += ("--warmup-seconds", "0.1", "--blocks", "8", "--block-seconds", "0.02")
    done = sfbench(*command, "--json")
    assert done.returncode == 0, done.stderr
    records = json.loads(done.stdout)
    assert sorted(record["case"]["measure"] for record in records) == [
        ["quality"],
        ["speed", "memory"],
    ]
    readings = {reading["metric"]: reading for one in records for reading in one["readings"]}
    record = next(one for one in records if "speed" in one["case"]["measure"])
    for metric in (
        "throughput.core",
        "throughput.e2e",
        "latency.p50",
        "latency.p90",
        "cold.import",
        "cold.build",
        "cold.first_call",
        "memory.weights",
        "parameters",
        "flops",
        "fd[cifar-cnn7]",
        "kd[cifar-cnn7]",
    ):
        assert readings[metric]["value"] is not None, metric
    assert readings["throughput.core"]["low"] < readings["throughput.core"]["high"]
    assert readings["parameters"]["value"] == 9 * 3 * 16**2
    assert readings["flops"]["value"] == 2 * 8 * 3 * 16**2
    assert readings["memory.weights"]["value"] == 4 * 9 * 3 * 16**2
    assert "fid" not in readings
    assert (
        readings["memory.device_allocated_peak"]["reason"] == "measured on the CPU: no GPU memory"
    )
    assert record["provenance"]["machine"]["versions"]["torch"]
    again = sfbench(*command, "--json")
    assert "0 trials to measure, 2 already measured" in again.stderr
    key = "identity"
    assert sorted(json.loads(again.stdout), key=lambda r: r[key]) == sorted(
        records, key=lambda r: r[key]
    )
    assert {r["metric"]: r["unit"] for r in record["readings"]}["throughput.core"] == "images/s"
    more = sfbench(*command, "--seed", "1", "--json")
    assert "2 trials to measure\n" in more.stderr


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_keeps_what_is_finished_and_ends_with_130(
    sent: signal.Signals, sfbench: Command, tmp_path: Path
) -> None:
    assert sfbench("run", "--model", "fault-none", *QUICK).returncode == 0
    command = [sys.executable, "-m", "sfbench", "run", "--model", "fault-none,fault-hang", *QUICK]
    child = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        # A background job inherits ignored interrupts; a terminal's does not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert child.stderr is not None
    try:
        for line in child.stderr:
            if "reference check" in line:
                break
        child.send_signal(sent)
        _, err = child.communicate(timeout=60)
    finally:
        child.kill()
    assert child.returncode == 130
    assert "finished trials are kept" in err
    (kept,) = (tmp_path / "results" / "runs").iterdir()
    assert json.loads(kept.read_text())["case"]["model"] == "fault-none"


@pytest.mark.fast
def test_every_complaint_is_raised_at_once_and_nothing_is_measured(
    sfbench: Command, tmp_path: Path
) -> None:
    done = sfbench(
        "run",
        "--model",
        "styleformer,nobody",
        "--res",
        "33",
        "--batch",
        "0",
        "--dtype",
        "fp8",
        "--data",
        "missing.zip",
        "--option",
        "nope=1",
        "--trials",
        "0",
        "--timeout",
        "0",
        "--seed",
        "5000000000",
    )
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 2
    assert all(line.startswith("error: ") for line in lines)
    for part in (
        "--batch '0'",
        "--dtype fp8",
        "missing.zip",
        "model nobody",
        "33 px",
        "--trials 0",
        "--timeout 0",
        "--seed 5000000000",
    ):
        assert any(part in line for line in lines), (part, lines)
    assert not (tmp_path / "results").exists()


@pytest.mark.fast
def test_an_option_or_weights_that_no_model_takes_is_not_passed_over(sfbench: Command) -> None:
    done = sfbench(
        "run", "--model", "styleformer,stylegan2", "--option", "nope=1", "--weights", "other=w.pt"
    )
    assert done.returncode == 2
    assert "none of the models has an option nope" in done.stderr
    assert "model other is not among --model" in done.stderr


@pytest.mark.fast
def test_a_suite_file_means_the_same_as_flags(sfbench: Command, tmp_path: Path) -> None:
    suite = tmp_path / "suite.toml"
    suite.write_text('[[run]]\nmodel = "styleformer"\nres = [32, 33]\nsize = 3\n')
    done = sfbench("run", "--suite", str(suite))
    assert done.returncode == 2
    assert "unknown key size" in done.stderr
    suite.write_text('[[run]]\nmodel = "styleformer"\nres = [32, 33]\n')
    assert "does not support 33 px" in sfbench("run", "--suite", str(suite)).stderr
    assert "not both" in sfbench("run", "--suite", str(suite), "--model", "x").stderr
    assert (
        "--samples: not allowed with --suite"
        in sfbench("run", "--suite", str(suite), "--samples", "9").stderr
    )
    suite.write_text('[[run]]\nmodel = "styleformer"\n[[runs]]\nmodel = "stylegan2"\n')
    assert "unknown key runs" in sfbench("run", "--suite", str(suite)).stderr
    assert sfbench("run").returncode == 2


def test_a_suite_file_runs(sfbench: Command, tmp_path: Path) -> None:
    (tmp_path / "suite.toml").write_text(
        '[[run]]\nmodel = "fault-none"\nres = 16\nmeasure = "quality"\nsamples = 16\n'
        '[[run]]\nmodel = "styleformer"\nres = 8\nmeasure = ["quality"]\nsamples = 16\n'
        'option = { noise = "none", widths = "16", layers = "1" }\n'
    )
    done = sfbench("run", "--suite", "suite.toml", "--plugin", FAULTS, "--json")
    assert done.returncode == 0, done.stderr
    assert {row["case"]["model"] for row in json.loads(done.stdout)} == {
        "fault-none",
        "styleformer",
    }


def test_image_folder_measures_quality_and_says_what_it_skips(
    sfbench: Command, tmp_path: Path
) -> None:
    from PIL import Image

    images = tmp_path / "made"
    images.mkdir()
    for index in range(20):
        Image.new("RGB", (20, 16), (index * 12, 90, 200 - index * 7)).save(images / f"{index}.png")
    run = ("run", "--model", "image-folder", "--res", "16", "--option", "path=made", "--json")
    (record,) = json.loads(sfbench(*run, "--samples", "20").stdout)
    readings = {reading["metric"]: reading for reading in record["readings"]}
    assert record["status"] == "ok"
    assert readings["fd[cifar-cnn7]"]["value"] > 0
    assert "nothing to time" in readings["throughput.core"]["reason"]
    (timing,) = json.loads(sfbench(*run, "--measure", "speed").stdout)
    assert timing["status"] == "skipped"
    assert "only quality can be measured" in timing["reason"]
    (short,) = json.loads(sfbench(*run, "--samples", "21").stdout)
    reasons = {r["metric"]: r["reason"] for r in short["readings"]}
    assert reasons["fd[cifar-cnn7]"] == "21 images requested, 20 available; use --samples"
    assert short["status"] == "skipped"
    missing = sfbench("run", "--model", "image-folder", "--res", "16")
    assert missing.returncode == 2
    assert "needs --option path=" in missing.stderr


def test_a_bad_file_among_real_images_is_left_out_named_and_flagged(
    sfbench: Command, tmp_path: Path
) -> None:
    from PIL import Image

    images = tmp_path / "real"
    images.mkdir()
    for index in range(16):
        Image.new("L", (32, 32), index * 12).save(images / f"{index:02}.png")
    (images / "07.png").write_bytes(b"no image")
    done = sfbench("run", "--model", "fault-none", *QUICK, "--data", "real", "--json")
    assert done.returncode == 0, done.stderr
    (record,) = json.loads(done.stdout)
    assert record["flags"] == ["unreadable"]
    how = record["readings"][-1]["how"]
    assert how["unreadable"] == [0, 1]
    assert "07.png cannot be read as an image" in how["left_out"][0]
