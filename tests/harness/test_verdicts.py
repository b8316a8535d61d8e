from __future__ import annotations

import dataclasses
import json
import math
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from making import a_case, a_record

from sfbench.api.errors import DataError
from sfbench.report import comparison, verdicts
from sfbench.report.comparison import Comparison, Quad
from sfbench.values.records import Reading, Record, record_to_json

Command = Callable[..., subprocess.CompletedProcess[str]]


def quads(ratio: float, spread: float, count: int = 8, seed: int = 0) -> list[Quad]:
    source = np.random.default_rng(seed)
    a = 100 * np.exp(spread * source.standard_normal((count, 2)))
    b = 100 * ratio * np.exp(spread * source.standard_normal((count, 2)))
    return [Quad((x[0], x[1]), (y[0], y[1])) for x, y in zip(a.tolist(), b.tolist(), strict=True)]


@pytest.mark.fast
def test_the_sign_flip_test_counts_all_signs() -> None:
    assert comparison.sign_flip_p([0.1] * 8) == 2 / 256
    # 1 + 2 + 3 = 6 and its negative alone are as large, of eight.
    assert comparison.sign_flip_p([1.0, 2.0, 3.0]) == 2 / 8
    assert comparison.sign_flip_p([1.0, -1.0]) == 1
    many = comparison.sign_flip_p([0.1] * 12 + [-0.1] * 12)
    assert many == pytest.approx(1, abs=0.01)


@pytest.mark.fast
def test_under_equality_the_exact_test_errs_as_often_as_it_says() -> None:
    source = np.random.default_rng(1)
    values = [comparison.sign_flip_p(row) for row in source.standard_normal((1000, 8)).tolist()]
    assert np.mean(np.array(values) <= 0.05) == pytest.approx(0.047, abs=0.02)


@pytest.mark.fast
def test_noise_is_that_of_a_quad_between_equals() -> None:
    many = quads(1.0, 0.05, count=4000)
    ratios = [quad.log_ratio for quad in many]
    assert comparison.own_noise(many) == pytest.approx(0.05, rel=0.05)
    assert np.std(ratios) == pytest.approx(0.05, rel=0.05)


@pytest.mark.fast
def test_identical_code_is_rarely_called_different_and_five_percent_is_found() -> None:
    def confirmed(ratio: float, spread: float) -> float:
        hits = 0
        for seed in range(200):
            pair = [
                comparison.of_quads(quads(ratio, spread, seed=2 * seed + half)).verdict()
                for half in range(2)
            ]
            hits += pair[0] == pair[1] and pair[0] in {"faster", "slower"}
        return hits / 200

    assert confirmed(1.0, 0.10) <= 0.01
    assert confirmed(0.95, 0.008) >= 0.95


@pytest.mark.fast
@pytest.mark.parametrize(
    ("ratio", "low", "high", "p", "noise", "expected"),
    [
        (0.90, 0.88, 0.92, 0.008, 0.002, "slower"),
        (1.10, 1.08, 1.12, 0.008, 0.002, "faster"),
        (0.99, 0.98, 1.00, 0.008, 0.002, "same"),
        (0.90, 0.80, 1.01, 0.200, 0.050, "inconclusive"),
        # A significant 10 % on a machine whose noise is 5 %: the margin is 16 %, too wide to say.
        (0.90, 0.88, 0.92, 0.008, 0.050, "inconclusive"),
        (0.96, 0.90, 1.04, 0.200, 0.002, "inconclusive"),
    ],
)
def test_a_verdict_needs_significance_and_more_than_the_margin(
    ratio: float, low: float, high: float, p: float, noise: float, expected: str
) -> None:
    found = Comparison(ratio=ratio, low=low, high=high, p=p, noise=noise, units=8)
    assert found.verdict() == expected
    assert found.margin >= 0.03
    assert found.resolvable > found.margin or noise == 0


@pytest.mark.fast
def test_holm_adjusts_for_the_number_of_cases() -> None:
    made = [Comparison(ratio=1, low=1, high=1, p=p, noise=0, units=8) for p in (0.04, 0.01, 0.03)]
    # The classical example: 0.01 x 3, then 0.03 x 2, and never less than the one before.
    assert [round(c.p, 4) for c in comparison.holm(made)] == [0.06, 0.03, 0.06]
    assert comparison.fewest_quads(1) == 6
    assert comparison.fewest_quads(10) == 9


@pytest.mark.fast
def test_stored_trials_are_compared_between_processes() -> None:
    found = comparison.of_trials([100, 101, 99], [80, 81, 79])
    assert found is not None
    assert found.ratio == pytest.approx(0.8, rel=1e-3)
    assert found.verdict() == "slower"
    assert comparison.of_trials([100], [80, 81]) is None
    equal = comparison.of_trials([7.0, 7.0], [7.0, 7.0])
    assert equal is not None
    assert equal.verdict() == "same"


def trials(rate: float, peak: float, **changes: Any) -> list[Record]:
    found = []
    for trial in range(3):
        readings = (
            Reading(metric="throughput.core", unit="images/s", value=rate + trial),
            Reading(metric="memory.host_above_loaded", unit="bytes", value=peak + trial),
        )
        record = a_record(readings, identity="i", case_key="k", trial=trial, started=str(trial))
        found.append(dataclasses.replace(record, **changes))
    return found


def stored(folder: Path, rate: float, peak: float) -> None:
    (folder / "runs").mkdir(parents=True)
    for record in trials(rate, peak):
        own = dataclasses.replace(record, identity=folder.name)
        (folder / "runs" / f"{record.trial}.json").write_text(record_to_json(own))


@pytest.mark.fast
def test_a_case_that_failed_in_b_is_a_failure() -> None:
    broken = trials(1, 1, status="oom", reason="no room", readings=())
    (row,) = verdicts.same_cases(trials(100, 1e8), broken)
    assert row.failure == "m 32px b8 fp32 eager (B): oom: no room"
    assert verdicts.same_cases(broken, broken) == []


@pytest.mark.fast
def test_times_of_two_machines_and_variants_of_a_model_are_not_compared() -> None:
    rows = verdicts.same_cases(trials(100, 1e8), trials(90, 1e8, machine="there"))
    assert {row.verdict for row in rows} == {"inconclusive"}
    assert all("different machines" in (row.reason or "") for row in rows)
    plain = trials(100, 1e8)
    case = {**plain[0].case, "options": {"depth": 2}}
    deeper = trials(50, 1e8, case=case, case_key="other", identity="j")
    other = trials(60, 1e8, case={**plain[0].case, "model": "n"}, case_key="n", identity="n")
    rows = verdicts.two_models([*plain, *deeper, *other], "m", "n")
    assert all("2 variants" in (row.reason or "") for row in rows)
    rows = verdicts.two_models([*plain, *other], "m", "n")
    assert {row.metric: row.verdict for row in rows}["throughput.core"] == "slower"


@pytest.mark.fast
def test_only_equal_cases_meet_and_all_of_them_do() -> None:
    low, high = trials(100, 1e8), trials(1000, 1e8, case_key="256", identity="j")
    faster = trials(2000, 1e8, case_key="256", identity="k")
    rows = verdicts.same_cases([*low, *high], [*low, *faster])
    speeds = [row for row in rows if row.metric == "throughput.core"]
    assert [row.verdict for row in speeds] == ["same", "faster"]
    assert len(rows) == 4
    older = trials(200, 1e8, case_key="256", protocol=0)
    assert verdicts.same_cases(high, older) == []
    larger = {**low[0].case, "batch": 64}
    other = trials(60, 1e8, case={**larger, "model": "n"}, case_key="n", identity="n")
    assert verdicts.two_models([*low, *other], "m", "n") == []


@pytest.mark.fast
def test_the_last_failure_of_a_case_is_named() -> None:
    first, *more = trials(1, 1, status="oom", reason="no room", readings=())
    last = dataclasses.replace(more[-1], status="timeout", reason="too long")
    (row,) = verdicts.same_cases(trials(100, 1e8), [first, last])
    assert str(row.failure).endswith("timeout: too long")


@pytest.mark.fast
def test_graphs_are_compared_by_what_they_reserve() -> None:
    host = {"memory.host_above_loaded"}
    device = {*host, "memory.device_allocated_peak", "memory.device_reserved_peak"}
    assert verdicts.peak_metric("compile", host) == "memory.host_above_loaded"
    assert verdicts.peak_metric("eager", device) == "memory.device_allocated_peak"
    assert verdicts.peak_metric("cuda-graph", device) == "memory.device_reserved_peak"


@pytest.mark.fast
def test_the_larger_of_known_and_seen_noise_counts() -> None:
    calm = quads(1.0, 0.001)
    assert comparison.of_quads(calm, 0.05).margin > comparison.of_quads(calm).margin
    wild = quads(1.0, 0.2)
    assert comparison.of_quads(wild, 0.001).margin == comparison.of_quads(wild).margin


def test_a_gate_on_stored_records_fails_on_memory_and_asks_to_confirm_speed(
    sfbench: Command, tmp_path: Path
) -> None:
    stored(tmp_path / "a", 1000, 1e8)
    stored(tmp_path / "b", 500, 2e8)
    done = sfbench("compare", "a", "b", "--fail-on", "more-memory", "--json")
    assert done.returncode == 4, done.stderr
    rows = {row["metric"]: row for row in json.loads(done.stdout)}
    assert rows["memory.host_above_loaded"]["verdict"] == "more-memory"
    assert rows["throughput.core"]["verdict"] == "slower"
    assert not rows["throughput.core"]["confirmed"]
    speed = sfbench("compare", "a", "b", "--fail-on", "slower")
    assert speed.returncode == 6
    assert "--live" in speed.stdout
    assert sfbench("compare", "b", "a", "--fail-on", "slower,more-memory").returncode == 0
    assert sfbench("compare", "a", "a", "--fail-on", "slower,more-memory").returncode == 0
    wrong = sfbench("compare", "a", "b", "--fail-on", "uglier")
    assert wrong.returncode == 2
    assert "slower, more-memory, worse-quality" in wrong.stderr


def test_live_complaints_come_before_any_work(sfbench: Command) -> None:
    few = sfbench("compare", "--live", "synthetic", "synthetic", "--quads", "5")
    assert few.returncode == 2
    assert "1 case needs 6 or more" in few.stderr
    for side, flags, words in (
        ("synthetic,python=nowhere", (), "no such file"),
        ("synthetic,seed=one", (), "expected a whole number"),
        ("synthetic", ("--batch", "max-fit"), "expected fixed batch sizes"),
    ):
        bad = sfbench("compare", "--live", side, "synthetic", *flags)
        assert bad.returncode == 2
        assert words in bad.stderr
    curve = sfbench("scaling", "--model", "synthetic", "--batch", "max-fit")
    assert "one batch size" in curve.stderr


def test_a_side_that_cannot_run_is_a_failure_with_its_reason(sfbench: Command) -> None:
    faults = str(Path(__file__).with_name("misbehaving.py"))
    done = sfbench(
        "compare", "--live", "fault-nan", "fault-none", "--res", "16", "--plugin", faults, "--json"
    )
    assert done.returncode == 1, done.stderr
    (row,) = json.loads(done.stdout)
    assert "nonfinite" in row["failure"]


def test_the_noise_floor_is_measured_and_kept(sfbench: Command, tmp_path: Path) -> None:
    done = sfbench(
        "doctor", "--aa", "--quads", "1", "--model", "synthetic,products=20,width=64", "--json"
    )
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["process_noise"] > 0
    assert facts["margin"] >= 0.03
    (kept,) = (tmp_path / "cache" / "sfbench").glob("noise-*.json")
    assert json.loads(kept.read_text())["quad"] == facts["process_noise"]


@pytest.mark.fast
def test_a_regression_that_did_not_recur_is_not_confirmed() -> None:
    slow = Comparison(ratio=0.8, low=0.78, high=0.82, p=0.008, noise=0.002, units=8)
    row = verdicts.Row(title="t", metric="throughput.core", result=slow, interleaved=True)
    assert row.verdict == "slower"
    assert not row.confirmed
    memory = verdicts.Row(title="t", metric="memory.host_above_loaded", result=slow)
    assert memory.verdict == "less-memory"
    assert math.isclose(verdicts.document(memory)["margin"], 0.03)


@pytest.mark.fast
def test_a_row_as_json_holds_what_a_gate_needs() -> None:
    slow = Comparison(ratio=0.8, low=0.78, high=0.82, p=0.0078, noise=0.002, units=8)
    row = verdicts.Row(
        title="t", metric="throughput.core", result=slow, interleaved=True, recurred=True
    )
    found = verdicts.document(row)
    assert (found["verdict"], found["confirmed"], found["kind"]) == ("slower", True, "slower")
    assert found["margin"] == slow.margin
    assert found["resolvable"] == slow.resolvable
    assert found["result"]["ratio"] == 0.8
    better = dataclasses.replace(slow, ratio=1.3, low=1.2, high=1.4)
    fast = verdicts.document(dataclasses.replace(row, result=better))
    assert (fast["verdict"], fast["confirmed"]) == ("faster", False)
    none = verdicts.document(verdicts.Row(title="t", metric="throughput.core"))
    assert "margin" not in none
    assert none["result"] is None


@pytest.mark.fast
def test_quality_is_compared_by_intervals_and_smaller_distances_are_better() -> None:
    def judged(value: float, width: float) -> list[Record]:
        reading = Reading(metric="fd[x]", value=value, low=value - width, high=value + width)
        return [a_record([reading], identity="i", case_key="k", case={"measure": ["quality"]})]

    (row,) = verdicts.same_cases(judged(10, 0.5), judged(20, 0.5))
    assert (row.kind, row.verdict, row.confirmed) == ("worse-quality", "worse-quality", True)
    assert row.values == [[10], [20]]
    (row,) = verdicts.same_cases(judged(20, 0.5), judged(10, 0.5))
    assert row.verdict == "better-quality"
    (row,) = verdicts.same_cases(judged(10, 5), judged(11, 5))
    assert row.verdict == "inconclusive"


@pytest.mark.fast
def test_p_is_adjusted_within_each_metric() -> None:
    def row(metric: str, p: float) -> verdicts.Row:
        result = Comparison(ratio=0.9, low=0.88, high=0.92, p=p, noise=0, units=8)
        return verdicts.Row(title="t", metric=metric, result=result)

    empty = verdicts.Row(title="t", metric="throughput.core")
    rows = [row("throughput.core", 0.01), empty, row("throughput.core", 0.04), row("fd[x]", 0.04)]
    alone = verdicts.adjusted([*rows, row("memory.host_peak", 0.03)])[-1]
    assert alone.result is not None
    assert alone.result.p == 0.03
    found = verdicts.adjusted(rows)
    assert [None if r.result is None else round(r.result.p, 4) for r in found] == [
        0.02,
        None,
        0.04,
        0.04,
    ]
    assert found[1] == empty


@pytest.mark.fast
def test_records_come_from_a_folder_or_a_file_and_nothing_else(tmp_path: Path) -> None:
    stored(tmp_path / "a", 100, 1e8)
    assert len(verdicts.read_records(tmp_path / "a")) == 3
    assert len(verdicts.read_records(tmp_path / "a" / "runs" / "0.json")) == 1
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(DataError, match="expected a record or a folder of records"):
        verdicts.read_records(tmp_path / "x.json")


def one(case: str = "k", status: str = "ok", **readings: float | None) -> Record:
    found = [
        Reading(metric=name.replace("__", "."), value=value)
        if value is not None
        else Reading(metric=name.replace("__", "."), reason="none here")
        for name, value in readings.items()
    ]
    return a_record(found, identity=case, case_key=case, status=status)


@pytest.mark.fast
def test_rows_of_stored_cases_say_which_case_and_metric_they_are() -> None:
    a, b = trials(100, 1e8), trials(80, 2e8)
    rows = verdicts.same_cases(a, b)
    assert [(row.title, row.metric) for row in rows] == [
        ("m 32px b8 fp32 eager", "memory.host_above_loaded"),
        ("m 32px b8 fp32 eager", "throughput.core"),
    ]
    assert [row.noise_from for row in rows] == ["the trials", "the trials"]
    assert rows[1].values == [[100, 101, 102], [80, 81, 82]]
    elsewhere = verdicts.same_cases(a, trials(90, 1e8, machine="there"))
    assert [(row.title, row.metric, row.reason) for row in elsewhere] == [
        (
            "m 32px b8 fp32 eager",
            name,
            f"m 32px b8 fp32 eager {name}: measured on different machines",
        )
        for name in ("memory.host_above_loaded", "throughput.core")
    ]
    deeper = {**a[0].case, "options": {"depth": 2}}
    more = trials(50, 1e8, case=deeper, case_key="other", identity="j")
    rival = trials(60, 1e8, case={**a[0].case, "model": "n"}, case_key="n", identity="n")
    rows = verdicts.two_models([*a, *more, *rival], "m", "n")
    assert all(row.reason for row in rows)
    assert {(row.title, row.metric) for row in rows} == {
        ("m 32px b8 fp32 eager", "memory.host_above_loaded"),
        ("m 32px b8 fp32 eager", "throughput.core"),
    }


@pytest.mark.fast
def test_the_last_try_of_a_failed_case_gives_the_reason() -> None:
    good = one(throughput__core=10.0)
    first, last = (
        dataclasses.replace(one(status="error"), reason=reason, attempt=n, readings=())
        for n, reason in enumerate(("first", "last"))
    )
    (row,) = verdicts.same_cases([good], [first, last])
    assert row.failure == "m 32px b8 fp32 eager (B): error: last"
    assert (row.title, row.metric) == ("m 32px b8 fp32 eager", "throughput.core")


@pytest.mark.fast
def test_what_one_side_did_not_read_is_passed_over_and_the_rest_is_compared() -> None:
    a = one(memory__host_above_loaded=None, throughput__core=10.0, throughput__e2e=9.0)
    b = one(memory__host_above_loaded=5.0, throughput__core=10.0)
    assert [row.metric for row in verdicts.same_cases([a], [b])] == ["throughput.core"]


@pytest.mark.fast
def test_the_peak_of_a_device_is_compared_where_it_was_read() -> None:
    read = {
        "memory__host_above_loaded": 1.0,
        "memory__device_allocated_peak": 2.0,
        "memory__device_reserved_peak": 3.0,
    }
    rows = verdicts.same_cases([one(**read)], [one(**read)])
    assert [row.metric for row in rows] == ["memory.device_allocated_peak"]
    graphs = [dataclasses.replace(r, case={**r.case, "mode": "cuda-graph"}) for r in [one(**read)]]
    rows = verdicts.same_cases(graphs, graphs)
    assert [row.metric for row in rows] == ["memory.device_reserved_peak"]
    on_cpu = one(memory__host_above_loaded=1.0, memory__device_allocated_peak=None)
    assert [row.metric for row in verdicts.same_cases([on_cpu], [on_cpu])] == [
        "memory.host_above_loaded"
    ]


@pytest.mark.fast
def test_quality_without_an_interval_on_either_side_is_inconclusive() -> None:
    def judged(low: float | None, identity: str = "i", value: float = 10.0) -> list[Record]:
        reading = Reading(metric="fd[x]", value=value, low=low, high=None if low is None else 11.0)
        return [a_record([reading], identity=identity, case_key="k")]

    for a, b in ((9.0, None), (None, 9.0), (None, None)):
        (row,) = verdicts.same_cases(judged(a), judged(b, "j"))
        assert row.result is None
        assert row.verdict == "inconclusive"
    # One identity and one value: the same. One identity and two values: news.
    (row,) = verdicts.same_cases(judged(None), judged(None))
    assert row.verdict == "same"
    (row,) = verdicts.same_cases(judged(None), judged(None, value=11.0))
    assert row.verdict == "inconclusive"
    (row,) = verdicts.same_cases(judged(0.0), judged(0.0, "j"))
    assert row.result is not None
    zero = Reading(metric="fd[x]", value=0.0, low=0.0, high=0.0)
    assert verdicts.bounds(zero) == (0.0, 0.0, 0.0)
    assert verdicts.bounds(Reading(metric="fd[x]", value=2.0, low=1.0, high=3.0)) == (2, 1, 3)


@pytest.mark.fast
def test_the_title_of_a_pair_shows_where_the_sides_differ() -> None:
    assert verdicts.title(a_case(), a_case()) == "32px b8 fp32 eager"
    assert (
        verdicts.title(a_case(dtype="fp32"), a_case(dtype="bf16", mode="compile", batch=9))
        == "32px b8 fp32/bf16 eager/compile"
    )


@pytest.mark.fast
def test_on_a_machine_that_is_too_noisy_nothing_is_called_the_same() -> None:
    noisy = Comparison(ratio=0.52, low=0.29, high=0.74, p=0.008, noise=0.45, units=8)
    assert noisy.margin > 2
    assert noisy.verdict() == "inconclusive"
    equal = dataclasses.replace(noisy, ratio=1.0, low=0.99, high=1.01, p=0.9)
    assert equal.verdict() == "inconclusive"
    calm = dataclasses.replace(equal, noise=0.03)
    assert calm.margin < comparison.LARGEST_MARGIN
    assert calm.verdict() == "same"
    huge = dataclasses.replace(noisy, ratio=0.1, low=0.09, high=0.11)
    assert huge.verdict() == "inconclusive"
    assert dataclasses.replace(huge, limit=4.0).verdict() == "slower"


@pytest.mark.fast
def test_of_one_identity_only_the_moment_differs() -> None:
    def timed(rate: float, identity: str) -> list[Record]:
        reading = Reading(metric="throughput.core", value=rate, low=rate, high=rate)
        return [a_record([reading], identity=identity, case_key="k") for _ in range(4)]

    (row,) = verdicts.same_cases(timed(100, "i"), timed(50, "i"))
    assert row.verdict == "same"
    (row,) = verdicts.same_cases(timed(100, "i"), timed(50, "j"))
    assert row.verdict == "slower"


@pytest.mark.fast
def test_flags_of_cases_are_for_live_comparisons(sfbench: Command, tmp_path: Path) -> None:
    done = sfbench("compare", str(tmp_path), str(tmp_path), "--res", "64")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "--res is for --live" in done.stderr
