"""A GPU that is lent for a while: parts that go on where they ended."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
import gpu_session

from sfbench.hardware.devices import find_backend

pytestmark = pytest.mark.fast
Command = Callable[..., subprocess.CompletedProcess[str]]


def step(program: str, seconds: float = 60.0) -> gpu_session.Step:
    return gpu_session.Step(name="one", command=["-c", program], seconds=seconds)


def test_what_is_done_is_done_once_for_a_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: dict[str, str] = {}
    noted, soon = tmp_path / "session.json", time.monotonic() + 300
    count = f"open({str(tmp_path / 'count')!r}, 'a').write('x')"
    for commit, times in (("a", 1), ("a", 1), ("b", 2)):
        monkeypatch.setattr(gpu_session, "commit", lambda commit=commit: commit)
        assert gpu_session.once(step(count), done, noted, tmp_path, soon) == gpu_session.DONE
        assert len((tmp_path / "count").read_text()) == times
    failed = gpu_session.once(step("raise SystemExit(1)"), {}, noted, tmp_path, soon)
    assert failed == gpu_session.FAILED
    late = gpu_session.once(step(count), {}, noted, tmp_path, time.monotonic() + 10)
    assert late == gpu_session.MORE
    slow = step("import time; time.sleep(60)", seconds=0.1)
    cut = gpu_session.once(slow, {}, noted, tmp_path, time.monotonic() + 0.5)
    assert cut == gpu_session.MORE


def test_the_official_code_is_run_only_where_a_checkout_is_given(tmp_path: Path) -> None:
    assert [one.name for one in gpu_session.steps(None)] == ["tests"]
    names = [one.name for one in gpu_session.steps(tmp_path)]
    assert names == ["tests", "bench_models-fp32", "bench_models-tf32", "bench_training-tf32"]
    for one in gpu_session.steps(tmp_path):
        assert any(Path(word).is_file() for word in one.command)


def test_without_a_gpu_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if find_backend("cuda").present():
        pytest.skip("there is a GPU")
    monkeypatch.setattr(sys, "argv", ["gpu_session.py"])
    assert gpu_session.main() == gpu_session.NO_GPU
    assert "no NVIDIA GPU here" in capsys.readouterr().out


def test_its_suite_can_be_planned_anywhere(sfbench: Command) -> None:
    done = sfbench("plan", "--suite", "gpu", "--out", "plan.json")
    assert "120 trials" in done.stdout
