from __future__ import annotations

import dataclasses
import io

import pandas as pd
import pytest
from making import a_record
from rich.console import Console

from sfbench.cli.reporting import chosen
from sfbench.report import frame, table
from sfbench.report.columns import rate
from sfbench.report.comparable import best
from sfbench.report.measurements import measurements
from sfbench.report.numbers import number
from sfbench.report.readings import notes
from sfbench.values.records import Reading, Record

pytestmark = pytest.mark.fast
HOW = {
    "extractor": {"name": "cifar-cnn7"},
    "generated": 128,
    "real": 128,
    "reference": {"name": "shapes", "sha256": None},
}


def made(model: str = "styleformer-linformer", rate: float = 10.0, **changes: object) -> Record:
    fields = {
        "identity": model,
        "case_key": model,
        "case": {"model": model, "resolution": 256},
        "readings": (
            Reading(
                metric="throughput.core", unit="images/s", value=rate, low=rate - 1, high=rate + 1
            ),
            Reading(metric="latency.p50", unit="s", value=0.02),
            Reading(metric="memory.host_above_loaded", unit="bytes", value=3 << 30),
            Reading(metric="parameters", unit="", value=35_020_000),
            Reading(metric="fd[cifar-cnn7]", unit="", value=18.4, how=HOW),
            Reading(metric="fid", unit="", reason="no weights"),
        ),
    }
    return a_record(**fields | changes)


def drawn(records: list[Record], width: int = 80) -> str:
    console = Console(width=width, file=io.StringIO(), highlight=False)
    console.print(table.terminal(frame.summary(measurements(records)), [], width))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_the_table_shows_every_column_within_80_characters() -> None:
    text = drawn([made()])
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80
    for word in ("styleformer-linformer", "256", "18.4", "10.0 ±1.0", "20.0", "3,072", "35.0"):
        assert word in text
    assert "random fp32 eager b8" in text
    assert "…" not in text
    assert "FD = fd[cifar-cnn7]\n128 generated, 128 real of shapes" in text


@pytest.mark.parametrize("width", [48, 60, 80, 140])
def test_a_column_that_does_not_fit_is_named_and_no_number_is_cut(width: int) -> None:
    more = Reading(metric="latency.p90", unit="s", value=1234.567)
    record = made()
    text = drawn([dataclasses.replace(record, readings=(*record.readings, more))], width)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    assert "…" not in text
    assert ("1,234,567" in text) == (width == 140)
    flowing = " ".join(text.split())
    for header, cell in (("images/s", "10.0 ±1.0"), ("call MiB", "3,072"), ("params M", "35.0")):
        assert (cell in flowing) == (header not in flowing.partition("not enough room for")[2])


def test_a_missing_quality_is_explained_in_its_own_row_alone() -> None:
    none = (Reading(metric="fd[cifar-cnn7]", unit="", reason="8 images given"),)
    text = drawn([made(), made("other", readings=none)])
    assert text.count("quality not measured: ") == 1
    assert "other 256 px: quality not measured: 8 images given" in text


def test_rows_of_a_model_say_in_which_options_they_differ() -> None:
    plain, other = made(), made(identity="b", case_key="b")
    changed = {"options": {"noise": "none", "layers": [1, 2]}}
    same = {"options": {"noise": "random", "layers": [1, 2]}}
    rows = [dataclasses.replace(plain, case={**plain.case, **same})]
    rows += [dataclasses.replace(other, case={**other.case, **changed})]
    text = drawn(rows)
    assert "noise=none" in text
    assert "noise=random" in text
    assert "layers" not in text


def test_a_failed_case_is_a_row_with_its_reason() -> None:
    failed = made("broken", status="oom", reason="out of memory", readings=())
    text = drawn([made(), failed])
    assert "oom · random fp32 eager b8" in text
    assert "broken 256 px: oom: out of memory" in text


def test_numbers_on_another_basis_stand_in_another_table() -> None:
    other = {**HOW, "generated": 64}
    readings = (Reading(metric="fd[cifar-cnn7]", unit="", value=3.0, how=other),)
    text = drawn([made(), made("other", readings=readings)])
    assert text.count("FD = fd[cifar-cnn7]") == 2


def test_trials_are_combined_by_their_geometric_mean_with_a_t_interval() -> None:
    records = [made(rate=8.0), dataclasses.replace(made(rate=2.0), trial=1)]
    row = frame.summary(measurements(records)).iloc[0]
    assert row["throughput.core"] == pytest.approx(4.0)
    assert row["throughput.core.low"] < 2
    assert row["throughput.core.high"] > 8
    assert row["trials"] == 2


def test_only_the_newest_code_and_the_last_attempt_are_shown() -> None:
    old = made(identity="old", started="2025-01-01T00:00:00+00:00")
    failed = made(status="killed", reason="x", readings=(), attempt=0)
    again = dataclasses.replace(made(), attempt=1)
    kept, left_out = frame.current([old, failed, again])
    assert kept == [again]
    assert left_out == 2


def test_the_tidy_frame_has_one_row_a_number_and_says_why_one_is_missing() -> None:
    rows = frame.tidy(measurements([made()]))
    assert len(rows) == 6
    missing = rows[rows["metric"] == "fid"].iloc[0]
    assert pd.isna(missing["value"])
    assert missing["reason"] == "no weights"


def test_markdown_holds_what_the_table_holds() -> None:
    text = table.markdown(frame.summary(measurements([made()])))
    assert "| styleformer-linformer | 256 | 18.4 | 10.0 ±1.0 | 20.0 |" in text


def test_records_are_chosen_by_model_and_resolution() -> None:
    records = [made(), made("other")]
    assert [r.case["model"] for r in chosen(records, ["other"], [])] == ["other"]
    assert chosen(records, [], [64]) == []
    assert len(chosen(records, [], [])) == 2


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (float("nan"), "-"),
        (0, "0"),
        (12345.6, "12,346"),
        (1.234, "1.23"),
        (1e-6, "1.00e-06"),
    ],
)
def test_numbers_are_shown_with_three_digits(value: float | None, text: str) -> None:
    assert number(value) == text


def test_rows_of_other_weights_are_told_apart() -> None:
    def weighted(digest: str) -> Record:
        case = {"model": "m", "weights": {"kind": "file", "sha256": digest * 64}}
        return made(identity=digest, case_key=digest, case=case)

    text = drawn([weighted("a"), weighted("b")])
    assert "weights=aaaaaaaa" in text
    assert "weights=bbbbbbbb" in text
    assert "weights=" not in drawn([weighted("a")])


@pytest.mark.parametrize(
    ("low", "high", "shown"),
    [
        (9.0, 11.0, "10.0 ±1.0"),
        (9.9, 10.2, "10.0 [9.90, 10.2]"),
        (9.0, 32_000.0, "10.0 [9.00, 32,000]"),
    ],
)
def test_an_interval_that_is_askew_is_shown_by_both_ends(
    low: float, high: float, shown: str
) -> None:
    row = {"throughput.core": 10.0, "throughput.core.low": low, "throughput.core.high": high}
    assert rate(row) == shown


def test_rows_of_other_threads_are_no_rivals() -> None:
    slow, fast = made("slow", 10), made("fast", 20)
    alone = made("slow", 1, case={"model": "slow", "resolution": 256, "threads": 1}, identity="x")
    rows = frame.summary(measurements([slow, fast, alone]))
    found = best(rows, "throughput.core", "higher")
    assert rows.loc[list(found), "model"].tolist() == ["fast"]


@pytest.mark.parametrize("value", [9e29, -0.0, float("1e-320")])
def test_numbers_that_nothing_measures_break_no_table(value: float) -> None:
    reading = Reading(metric="latency.p50", value=value)
    assert drawn([made(readings=(reading, Reading(metric="throughput.core", value=value)))])


def test_notes_on_images_say_which_protocols_they_hold_for() -> None:
    def read(protocol: str, turned: str, bad: int = 1) -> Reading:
        how = {
            "protocol": protocol, "extractor": {"name": "x", "weights_sha256": "ab", "resize": "r",
            "features": 2}, "unreadable": [bad, 0], "converted": [{turned: 3}, {}],
        }  # fmt: skip
        return Reading(metric=f"fd[x, {protocol}]", value=1.0, how=how)

    told = notes([read("ours", "turned"), read("theirs", "ignored")])
    assert told[-3:] == [
        "! images: 1 could not be read and were skipped",
        "  images: 3 turned (ours)",
        "  images: 3 ignored (theirs)",
    ]
    assert notes([read("ours", "turned")])[-1] == "  images: 3 turned"
