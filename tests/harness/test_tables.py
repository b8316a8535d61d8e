"""Tables: what is marked as best, and LaTeX that is valid."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pandas as pd
import pytest
from making import a_record

from sfbench.report import frame, table
from sfbench.report.comparable import best
from sfbench.report.figure import labeled
from sfbench.report.headline import headline
from sfbench.report.latex import escaped, latex
from sfbench.report.measurements import measurements
from sfbench.report.row_text import same_basis
from sfbench.report.table import markdown
from sfbench.values.records import Reading, Record


def made(model: str, low: float | None, value: float, high: float | None, **case: Any) -> Record:
    reading = Reading(metric="throughput.core", unit="images/s", value=value, low=low, high=high)
    name = f"{model}{case}"
    return a_record([reading], identity=name, case_key=name, case={"model": model, **case})


def marked(*records: Record) -> list[str]:
    rows = frame.summary(measurements(records))
    return [rows.loc[index, "model"] for index in best(rows, "throughput.core", "higher")]


@pytest.mark.fast
def test_only_what_is_surely_best_is_marked() -> None:
    clear, near, slow = made("c", 9, 10, 11), made("n", 10.5, 10.6, 12), made("s", 1, 2, 3)
    assert marked(clear, slow) == ["c"]
    assert marked(clear, near, slow) == []
    assert marked(clear) == []
    assert marked(clear, made("u", None, 1, None)) == []
    assert marked(clear, made("b", 90, 99, 110, batch=1)) == []
    assert sorted(marked(clear, slow, made("x", 5, 6, 7, resolution=64))) == ["c"]


@pytest.mark.fast
def test_latex_and_markdown_show_the_numbers_of_the_frame() -> None:
    rows = frame.summary(
        measurements([made("fast_model", 90.0, 100.0, 110.0), made("slow", 1.0, 2.0, 3.0)])
    )
    text = latex(rows)
    assert r"fast\_model" in text
    assert r"\textbf{100 [90.0, 110]}" in text
    assert "2.00 [1.00, 3.00]" in text
    table = re.search(r"\\begin{tabular}{(\w+)}", text)
    assert table is not None
    lines = [line for line in text.splitlines() if line.endswith("\\\\")]
    assert {line.count(" & ") + 1 for line in lines} == {len(table.group(1))}
    assert text.count(r"\begin{") == text.count(r"\end{")
    assert "**100 ±10**" in markdown(rows)


@pytest.mark.fast
def test_latex_escapes_what_is_special() -> None:
    assert escaped("a_b & 5% #1 {x} ~^\\") == (
        r"a\_b \& 5\% \#1 \{x\} \textasciitilde{}\textasciicircum{}\textbackslash{}"
    )


def told(*records: Record, basis: str | None = None) -> str:
    rows = frame.summary(measurements(records))
    return headline(rows if basis is None else rows.assign(quality=basis)).text()


@pytest.mark.fast
def test_the_headline_never_sets_two_machines_against_each_other() -> None:
    def on(machine: str, *speeds: float) -> list[Record]:
        models = [made(name, s - 1, s, s + 1) for name, s in zip("ab", speeds, strict=False)]
        return [
            dataclasses.replace(one, identity=one.identity + machine, machine=machine)
            for one in models
        ]

    text = told(*on("slow", 20.0, 10.0), *on("fast", 900.0))
    assert text.startswith("2 models in 2 cases, on cpu")
    assert "a makes 20.0 images/s at 32 px and batch 8, 2.00 times b" in text
    assert "apart in separate runs, confirm with sfbench compare --live a b --res 32" in text
    assert "1 case of other machines or people are shown apart" in text
    assert "intervals overlap" in told(*on("slow", 20.0, 19.5))


@pytest.mark.fast
def test_the_headline_leaves_out_what_was_disturbed_and_names_it() -> None:
    noisy = dataclasses.replace(made("loud", 990, 1000, 1010), flags=("noisy",))
    text = told(noisy, made("a", 90, 100, 110), made("b", 40, 50, 60))
    assert "a makes 100 images/s" in text
    assert "Left out as disturbed: loud (noisy)" in text
    alone = told(noisy, made("a", 90, 100, 110))
    assert "Nothing can be said at 32 px and batch 8" in alone
    assert "sfbench compare --live loud a --res 32 decides. Left out as disturbed: loud" in alone
    assert marked(noisy, made("a", 90, 100, 110), made("b", 40, 50, 60)) == []


@pytest.mark.fast
def test_overlap_is_said_only_of_intervals() -> None:
    text = told(made("a", None, 10, None), made("b", 1, 2, 3))
    assert "not every value has an interval" in text
    assert "overlap" not in text


@pytest.mark.fast
def test_other_precisions_and_modes_are_not_compared() -> None:
    assert marked(made("a", 9, 10, 11, dtype="bf16"), made("b", 1, 2, 3)) == []
    assert marked(made("a", 9, 10, 11, mode="compile"), made("b", 1, 2, 3)) == []


@pytest.mark.fast
def test_hostile_names_are_text_in_a_spreadsheet_and_on_a_page() -> None:
    rows = pd.DataFrame({"model": ["=HYPERLINK(1)", "fine"], "=x": [-1.5, 2.0], "n": ["@a", None]})
    lines = frame.as_csv(rows).splitlines()
    assert lines == ["model,'=x,n", "'=HYPERLINK(1),-1.5,'@a", "fine,2.0,"]
    assert table.literal("a|b <i> `c` [d](e)") == r"a\|b &lt;i> \`c\` \[d\](e)"


@pytest.mark.fast
def test_rows_of_custom_timing_are_no_rivals() -> None:
    fast = made("a", 190, 200, 210)
    custom = dataclasses.replace(fast, flags=("custom_timing",))
    assert marked(fast, made("b", 90, 100, 110)) == ["a"]
    assert marked(custom, made("b", 90, 100, 110), made("c", 40, 50, 60)) == ["b"]
    rows = frame.summary(measurements([custom, made("b", 90, 100, 110)]))
    assert "100 images/s from b" in headline(rows).text()
    assert any("custom timing" in label for label in labeled(rows.assign(variant="")))


@pytest.mark.fast
def test_speed_is_compared_across_tables_of_quality() -> None:
    slow = made("a", 1, 2, 3, extractor={"kind": "x", "sha256": None})
    rows = frame.summary(measurements([slow, made("b", 8, 9, 10)]))
    rows["quality"] = ["x, y", ""]
    parts = list(same_basis(rows))
    assert len(parts) == 2
    text = table.markdown(rows)
    assert "**9.00 ±1.0**" in text
    assert "**2.00" not in text


@pytest.mark.fast
def test_a_lowest_distance_needs_two_models_and_intervals() -> None:
    def judged(model: str, low: float | None, high: float | None) -> Record:
        reading = Reading(metric="fd[x]", unit="", value=5.0, low=low, high=high)
        return a_record([reading], identity=model, case_key=model, case={"model": model})

    def told_of(*records: Record) -> str:
        return told(*records, basis="x, y")

    assert "lowest" not in told_of(judged("a", 4, 6))
    assert "is open: not every value has an interval" in told_of(
        judged("a", None, None), judged("b", 4, 6)
    )
    assert "intervals overlap" in told_of(judged("a", 4, 6), judged("b", 4, 6))
