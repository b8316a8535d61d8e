from __future__ import annotations

import dataclasses
import io

import pytest
from rich.console import Console

from sfbench.report.comparison import Comparison
from sfbench.report.verdict_table import notes, table
from sfbench.report.verdicts import Row

pytestmark = pytest.mark.fast


def told(rows: list[Row]) -> str:
    console = Console(width=80, file=io.StringIO(), highlight=False)
    console.print(table(rows, "one", "two"))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_a_table_shows_the_numbers_and_says_what_they_rest_on() -> None:
    slow = Comparison(ratio=0.8, low=0.78, high=0.82, p=0.0078, noise=0.002, units=8)
    row = Row(
        title="32px b8",
        metric="throughput.core",
        result=slow,
        interleaved=True,
        noise_from="these quads",
    )
    text = told([row])
    for words in (
        "A = one", "B = two", "32px b8", "throughput.core", "0.800", "0.780 .. 0.820", "0.008",
        "3.0 %", "slower", "8 quads; smallest detectable difference in speed: 3.3 % (noise from these quads)",
    ):  # fmt: skip
        assert words in text, words
    assert "--live" not in text
    assert "recurred" not in text
    again = dataclasses.replace(row, second=dataclasses.replace(slow, ratio=0.9), recurred=True)
    assert "! 32px b8 throughput.core: recurred when measured again (0.900)" in told([again])
    assert again.confirmed
    gone = dataclasses.replace(again, recurred=False)
    assert "did not recur when measured again" in told([gone])
    assert not gone.confirmed


def test_stored_rows_say_that_they_were_not_interleaved_and_what_is_missing() -> None:
    found = Comparison(ratio=1, low=0.99, high=1.01, p=1, noise=0.001, units=3)
    rows = [
        Row(title="t", metric="throughput.core", result=found),
        Row(title="t", metric="throughput.e2e"),
        Row(title="u", metric="throughput.core", failure="u (B): oom: no room"),
        Row(title="v", metric="throughput.core", reason="v: measured elsewhere"),
    ]
    text = told(rows)
    for words in (
        "u (B): oom: no room", "v: measured elsewhere", "--live",
        "- no verdict without a spread", "3 trials; smallest detectable difference",
    ):  # fmt: skip
        assert words in text, words
    assert text.count("u (B): oom: no room") == 1
    assert [row.verdict for row in rows] == ["same", "inconclusive", "failed", "inconclusive"]


def test_notes_are_said_only_where_they_hold() -> None:
    found = Comparison(ratio=1, low=0.99, high=1.01, p=1, noise=0.001, units=8)
    live = Row(title="t", metric="throughput.core", result=found, interleaved=True)
    assert len(notes([live])) == 1
    failed = Row(title="u", metric="throughput.core", failure="why", interleaved=True)
    assert notes([failed]) == ["why"]
    because = dataclasses.replace(failed, failure=None, reason="because")
    assert notes([because]) == ["because"]
    empty = dataclasses.replace(failed, failure=None)
    assert notes([empty]) == [
        "- no verdict without a spread: measure both sides again with --trials 3"
    ]
    memory = Row(title="t", metric="memory.host_peak", result=found, interleaved=True)
    assert notes([memory]) == []
    stored = dataclasses.replace(memory, interleaved=False)
    assert notes([stored]) == [
        "stored runs were not interleaved: confirm a change in speed with --live"
    ]
