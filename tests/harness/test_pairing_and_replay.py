from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from making import a_record

from sfbench.report import replay
from sfbench.report.pairing import is_quality, joined_case, joined_records, paired
from sfbench.values.records import Reading, Record

Command = Callable[..., subprocess.CompletedProcess[str]]
FAULTS = str(Path(__file__).with_name("misbehaving.py"))


def row(**changes: object) -> dict[str, object]:
    return {
        "model": "m",
        "options": "",
        "resolution": 32,
        "weights": "file",
        "weights_sha256": "aa",
        "seed": 0,
        "dtype": "fp32",
        "mode": "eager",
        "device": "cpu",
        "machine": "here",
        "identity": "speed",
        "quality": "",
        "quality_reason": None,
        "status": "ok",
        "started": "1",
        "throughput.core": None,
        "fd[x]": None,
    } | changes


SPEED = row(**{"throughput.core": 10.0})
QUALITY = row(**{"identity": "judged", "quality": "x, 10 generated", "fd[x]": 5.0})


@pytest.mark.fast
def test_quality_and_speed_of_the_same_thing_share_a_row() -> None:
    found = paired(pd.DataFrame([SPEED, QUALITY]))
    assert len(found) == 1
    assert found.iloc[0]["throughput.core"] == 10
    assert found.iloc[0]["fd[x]"] == 5
    assert found.iloc[0]["identity"] == "speed"
    assert found.iloc[0]["quality_identity"] == "judged"


@pytest.mark.fast
def test_a_row_that_holds_memory_gives_its_quality_and_stays() -> None:
    giver = QUALITY | {"memory.host_peak": 5.0}
    found = paired(pd.DataFrame([SPEED, giver]))
    assert len(found) == 2
    assert found["fd[x]"].tolist() == [5.0, 5.0]
    assert found["memory.host_peak"].notna().sum() == 1


@pytest.mark.fast
@pytest.mark.parametrize(
    "change",
    [{"weights_sha256": "bb"}, {"dtype": "bf16"}, {"mode": "compile"}, {"resolution": 64}],
)
def test_quality_of_anything_else_stays_in_a_row_of_its_own(change: dict[str, object]) -> None:
    found = paired(pd.DataFrame([SPEED, QUALITY | change]))
    assert len(found) == 2
    assert found["throughput.core"].isna().sum() == 1
    both = found.dropna(subset=["throughput.core"])
    assert both["fd[x]"].isna().all()


def made(**values: float) -> Record:
    readings = tuple(
        Reading(metric=k.replace("_of_", "."), unit="", value=v) for k, v in values.items()
    )
    return Record(
        identity="", case_key="", case={}, trial=0, attempt=0, status="ok", readings=readings
    )


@pytest.mark.fast
def test_a_replay_compares_sizes_exactly_and_times_by_a_margin() -> None:
    stored = made(parameters=10, throughput_of_core=100, cold_of_build=1)
    rows = {
        r.metric: r.verdict for r in replay.rows(stored, made(parameters=10, throughput_of_core=95))
    }
    assert rows == {"parameters": "same", "throughput.core": "same"}
    rows = {
        r.metric: r.verdict for r in replay.rows(stored, made(parameters=11, throughput_of_core=80))
    }
    assert rows == {"parameters": "different", "throughput.core": "different"}


@pytest.mark.fast
def test_a_machine_that_became_faster_breaks_no_promise() -> None:
    stored = made(throughput_of_core=100, memory_of_weights=10)
    fresh = made(throughput_of_core=200, memory_of_weights=12)
    by_name = {row.metric: row.verdict for row in replay.rows(stored, fresh)}
    assert by_name == {"throughput.core": "better", "memory.weights": "different"}
    speed = replay.rows(stored, fresh, ["speed"])
    assert replay.holds(stored, fresh, speed)
    assert not replay.holds(stored, fresh, replay.rows(stored, fresh))
    slower = made(throughput_of_core=50, memory_of_weights=10)
    assert not replay.holds(stored, slower, replay.rows(stored, slower, ["speed"]))
    assert replay.holds(stored, slower, replay.rows(stored, slower, ["memory"]))


@pytest.mark.fast
def test_a_value_that_is_no_longer_measured_is_not_the_same() -> None:
    stored = made(parameters=10, cold_of_build=1)
    (row,) = replay.rows(stored, made(cold_of_build=1))
    assert row.verdict == "different"
    assert row.fresh is None
    fresh = made(cold_of_build=1)
    assert not replay.holds(fresh, fresh, replay.rows(fresh, fresh))
    assert replay.holds(stored, stored, replay.rows(stored, stored))


@pytest.mark.fast
def test_flags_of_both_runs_stand_beside_a_paired_row() -> None:
    frame = pd.DataFrame([SPEED | {"flags": "noisy"}, QUALITY | {"flags": "unreadable noisy"}])
    assert paired(frame).iloc[0]["flags"] == "noisy unreadable"


def test_a_stored_trial_comes_out_the_same_and_a_changed_one_does_not(
    sfbench: Command, tmp_path: Path
) -> None:
    asked = ("--model", "fault-none", "--res", "16", "--measure", "quality", "--samples", "32")
    assert sfbench("run", *asked, "--plugin", FAULTS).returncode == 0
    (path,) = (tmp_path / "results" / "runs").glob("*.json")
    done = sfbench("replay", str(path), "--plugin", FAULTS, "--json")
    assert done.returncode == 0, done.stderr + done.stdout
    document = json.loads(done.stdout)
    assert document["same"]
    assert {"kd[cifar-cnn7]", "fd[cifar-cnn7]"} <= {r["metric"] for r in document["rows"]}
    record = json.loads(path.read_text())
    for reading in record["readings"]:
        if reading["metric"] == "fd[cifar-cnn7]":
            reading["value"] += 1
    other = tmp_path / "other.json"
    other.write_text(json.dumps(record))
    changed = sfbench("replay", str(other), "--plugin", FAULTS)
    assert changed.returncode == 1
    assert "different" in changed.stdout
    assert sfbench("replay", "nowhere.json").returncode == 2


def speed_record(**changes: Any) -> Record:
    reading = Reading(metric="throughput.core", value=10.0)
    return a_record([reading], identity="speed", **changes)


def quality_record(value: float = 5.0, **changes: Any) -> Record:
    reading = Reading(metric="fd[x]", value=value)
    asked = {
        "measure": ["quality"],
        "data": {"kind": "files"},
        "samples": 9,
        "files": {"data": "d"},
    }
    case = asked | changes.pop("case", {})
    return a_record([reading], **{"identity": "judged"} | changes, case=case)


@pytest.mark.fast
def test_records_of_speed_take_up_the_newest_quality_of_the_same_thing() -> None:
    old = quality_record(4.0, identity="old", started="2025-01-01")
    found, other = joined_records([speed_record(), quality_record(), old])
    assert other == old
    assert found.identity == "speed"
    assert {r.metric: r.value for r in found.readings} == {"throughput.core": 10.0, "fd[x]": 5.0}
    assert found.case["measure"] == ["speed", "quality"]
    assert found.case["samples"] == 9
    assert found.case["data"] == {"kind": "files"}
    assert found.case["files"] == {"data": "d"}


@pytest.mark.fast
@pytest.mark.parametrize(
    "change",
    [
        {"case": {"seed": 1}}, {"case": {"options": {"a": 1}}}, {"case": {"weights": {"kind": "x"}}},
        {"case": {"dtype": "bf16"}}, {"machine": "there"}, {"trial": 1}, {"status": "error"},
    ],
)  # fmt: skip
def test_records_of_anything_else_are_not_joined(change: dict[str, Any]) -> None:
    judged = quality_record(**change)
    found = joined_records([speed_record(), judged])
    assert found == [speed_record(), judged]


@pytest.mark.fast
def test_a_record_alone_stays_as_it_is_and_one_with_quality_takes_none() -> None:
    assert joined_records([quality_record()]) == [quality_record()]
    both = speed_record(case={"measure": ["speed", "quality"]})
    assert joined_records([both, quality_record()]) == [both, quality_record()]
    assert joined_case(both.case, None) is both.case
    assert joined_case(both.case, both.case) is both.case


@pytest.mark.fast
def test_the_newest_quality_is_taken_and_an_empty_frame_stays_one() -> None:
    late = QUALITY | {"identity": "late", "fd[x]": 7.0, "started": "2"}
    found = paired(pd.DataFrame([SPEED, late, QUALITY]))
    assert found["fd[x]"].tolist() == [7.0, 5.0]
    assert found["quality_identity"].tolist() == ["late", "judged"]
    assert found["throughput.core"].notna().tolist() == [True, False]
    assert paired(pd.DataFrame()).empty
    failed = paired(pd.DataFrame([SPEED, QUALITY | {"status": "error"}]))
    assert len(failed) == 2
    alone = paired(pd.DataFrame([QUALITY]))
    assert alone["quality_identity"].tolist() == ["judged"]
    assert paired(pd.DataFrame([SPEED]))["quality_identity"].isna().all()


@pytest.mark.fast
def test_columns_of_quality_are_known_with_their_bounds() -> None:
    assert all(map(is_quality, ("fd[x]", "fd[x].low", "fid.high", "quality", "quality_reason")))
    assert not any(map(is_quality, ("throughput.core", "throughput.core.low", "model")))


@pytest.mark.fast
def test_files_of_both_halves_are_named_and_older_cases_name_none() -> None:
    timed, judged = speed_record().case, quality_record().case
    both = joined_case({**timed, "files": {"weights": "w"}}, judged)
    assert both["files"] == {"data": "d", "weights": "w"}
    old = {name: value for name, value in timed.items() if name != "files"}
    assert joined_case(old, judged)["files"] == {"data": "d"}
    bare = {name: value for name, value in judged.items() if name != "files"}
    assert joined_case(timed, bare)["files"] == {}
