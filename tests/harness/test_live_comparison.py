"""Live comparisons with processes that are not there: what is said, kept and taken up again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from making import a_record

from sfbench.cli.main import main
from sfbench.store.quads import KeptQuads, Leg
from sfbench.values.job import Job
from sfbench.values.records import Reading, Record

pytestmark = pytest.mark.fast


class Processes:
    """A launcher: B is a tenth slower than A; the process numbered `stop` is interrupted."""

    def __init__(self, stop: int | None = None) -> None:
        self.started = 0
        self.stop = stop

    def __call__(self, job: Job, _timeout: float, _event: Callable[[Any], None]) -> Record:
        self.started += 1
        if self.started == self.stop:
            raise KeyboardInterrupt
        rate = 1000 - job.case.options["width"] + 0.1 * (self.started % 3)
        return a_record(
            [
                Reading(metric="throughput.core", value=rate),
                Reading(metric="memory.host_above_loaded", value=1e6 + self.started),
            ]
        )


A, B = "synthetic,width=64", "synthetic,width=164"


def compared(launcher: Processes, *flags: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(["compare", "--live", A, B, "--device", "cpu", *flags], launcher)
    return int(stopped.value.code or 0)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_finished_quads_are_kept_and_taken_up_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compared(Processes(stop=14)) == 130
    told = capsys.readouterr().err
    assert "32 processes to measure in: 1 case, 8 quads each, 3 min 44 s or more" in told
    assert "interrupted: 3 of 8 quads are kept in results/quads; repeat the command" in told
    (kept,) = (tmp_path / "results" / "quads").iterdir()
    kept.write_text(kept.read_text() + '[{"side": "a", "val')
    again = Processes()
    assert compared(again, "--json", "--fail-on", "slower") == 4
    # Five quads more, and eight to see whether the regression recurs.
    assert again.started == 5 * 4 + 8 * 4
    output = capsys.readouterr()
    assert "(12 are kept from an interrupted comparison)" in output.err
    rows = {row["metric"]: row for row in json.loads(output.out)}
    assert rows["throughput.core"]["verdict"] == "slower"
    assert not kept.exists()
    other = Processes(stop=1)
    compared(other, "--threads", "1")
    assert other.started == 1, "another case has quads of its own"


def test_a_noisy_machine_gives_no_verdict_unless_asked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calm = Processes.__call__

    def noisy(self: Processes, job: Job, timeout: float, event: Callable[[Any], None]) -> Record:
        record = calm(self, job, timeout, event)
        rate = (record.readings[0].value or 0) * (1 + self.started % 4)
        return a_record([Reading(metric="throughput.core", value=rate)])

    monkeypatch.setattr(Processes, "__call__", noisy)
    assert compared(Processes(), "--fail-on", "slower") == 6
    told = " ".join(capsys.readouterr().out.split())
    assert "is over 10 %: too noisy for a verdict" in told
    assert compared(Processes(), "--margin-limit", "0") == 2
    assert "--margin-limit 0: expected percent, above 0" in capsys.readouterr().err


@pytest.mark.parametrize("store", ["nowhere", "."])
def test_a_side_that_does_not_exist_is_named(
    store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["compare", "base/", "new/", "--store", store])
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: base/: neither a file or folder of records nor a model measured")
    assert line.endswith("which holds no records")


def test_the_side_that_is_missing_is_named_not_the_one_that_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "results" / "runs").mkdir(parents=True)
    for sides in (("results", "nowhere"), ("nowhere", "results")):
        with pytest.raises(SystemExit):
            main(["compare", *sides])
        assert capsys.readouterr().err.startswith("error: nowhere: neither a file or folder")


def test_damaged_quads_end_what_is_kept(tmp_path: Path) -> None:
    kept = KeptQuads(tmp_path, "q")
    assert kept.load() == []
    quad = [Leg("a", {"x": 1.0}), Leg("b", {"x": 2.0})]
    kept.add(quad)
    kept.add(quad)
    lines = kept.path.read_text().splitlines()
    kept.path.write_text("\n".join([lines[0], '[{"side": 1}]', lines[1]]))
    assert kept.load() == [quad]
    kept.clear()
    kept.clear()
    assert kept.load() == []
