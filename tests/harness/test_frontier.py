"""Knobs: the values of a sweep, which value is measured next, fronts, and the figure of a curve."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfbench.api.errors import UsageError
from sfbench.cli.frontier import MOST, parse_budget, parse_knob
from sfbench.report.figure import Look
from sfbench.report.frontier_figure import curves, frontier
from sfbench.run.frontier import first_values, next_value
from sfbench.values.frontier import Point, beats, cost_alike, on_front
from sfbench.values.sweeps import Range, combinations, parse_range, parse_sweeps

Command = Callable[..., subprocess.CompletedProcess[str]]


def point(value: float, cost: float, distance: float, half: float = 0.1) -> Point:
    return Point(
        value=value, cost=cost, cost_low=cost, cost_high=cost,
        distance=distance, low=distance - half, high=distance + half,
    )  # fmt: skip


@pytest.mark.fast
@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("steps=4,8,16", ("4", "8", "16")),
        ("steps=4:64", ("4", "8", "16", "32", "64")),
        ("steps=1:10*3", ("1", "3", "9")),
        ("psi=0.5:1.0*1.5", ("0.5", "0.75")),
        ("scheduler=own,ddim", ("own", "ddim")),
        ("steps=4,4,8:16", ("4", "8", "16")),
        ("mode=a:b", ("a:b",)),
    ],
)
def test_a_sweep_names_its_values(text: str, values: tuple[str, ...]) -> None:
    (sweep,) = parse_sweeps([text])
    assert dataclasses.astuple(sweep)[1] == values


@pytest.mark.fast
@pytest.mark.parametrize(
    "text", ["steps", "=1", "steps=", "steps=4:2", "steps=0:8", "steps=1:8*1", "x=1:1e300*1.0001"]
)
def test_other_sweeps_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--sweep"):
        parse_sweeps([text])


@pytest.mark.fast
def test_sweeps_multiply_and_none_is_one_combination() -> None:
    sweeps = parse_sweeps(["a=1,2", "b=x,y,z"])
    assert len(combinations(sweeps)) == 6
    assert combinations([]) == [{}]
    with pytest.raises(UsageError, match="swept twice"):
        parse_sweeps(["a=1", "a=2"])


@pytest.mark.fast
@given(
    low=st.integers(1, 1000),
    span=st.integers(1, 100_000),
    places=st.lists(st.floats(0, 1), max_size=6),
)
def test_a_value_between_two_lies_between_them_and_in_the_range(
    low: int, span: int, places: list[float]
) -> None:
    within = Range(low, low + span, is_whole=True)
    values = sorted({float(low), float(low + span), *(low + round(p * span) for p in places)})
    for first, second in itertools.pairwise(values):
        middle = within.between(first, second)
        if middle is None:
            assert second - first <= max(2, 0.01 * second)
        else:
            assert first < middle < second
            assert middle == round(middle)
    assert sum(within.share(a, b) for a, b in itertools.pairwise(values)) == pytest.approx(1)


@pytest.mark.fast
def test_the_search_begins_coarse_and_goes_where_the_curve_bends() -> None:
    within = parse_range("1:64", "")
    assert first_values(within) == [1, 8, 64]
    # Steep, then flat: more lies between 1 and 8 than between 8 and 64.
    assert next_value([point(1, 1, 100), point(8, 8, 11), point(64, 64, 10)], within) == 3
    # Flat, then steep.
    assert next_value([point(1, 1, 100), point(8, 8, 99), point(64, 64, 10)], within) == 23


@pytest.mark.fast
def test_the_search_stops_where_nothing_more_would_be_seen() -> None:
    within = parse_range("1:64", "")
    flat = [point(v, v, 10 + v / 1000, half=1.0) for v in (1, 2, 4, 8, 16, 32, 64)]
    assert next_value(flat, within) is None
    # Wide gaps are looked into all the same: a minimum may hide in them.
    assert next_value([flat[0], flat[-1]], within) == 8
    whole = [point(v, v, 100 - v) for v in range(1, 65)]
    assert next_value(whole, within) is None


@pytest.mark.fast
def test_a_whole_search_finds_a_minimum_with_few_points() -> None:
    within = parse_range("0.2:1.0", "")

    def measured(value: float) -> Point:
        return point(value, 1.0, 10 + 400 * (value - 0.73) ** 2, half=0.2)

    found = [measured(value) for value in first_values(within)]
    while len(found) < MOST and (value := next_value(found, within)) is not None:
        found.append(measured(value))
    best = min(found, key=lambda one: one.distance)
    assert abs(best.value - 0.73) < 0.05


@pytest.mark.fast
def test_a_point_is_beaten_only_beyond_intervals() -> None:
    cheap_bad, dear_good = point(1, 1, 50), point(2, 10, 20)
    assert on_front([cheap_bad, dear_good]) == [True, True]
    assert on_front([cheap_bad, dear_good, point(3, 20, 20)]) == [True, True, False]
    assert on_front([cheap_bad, point(4, 1.05, 49.95)]) == [True, True]
    wide = Point(value=5, cost=2, cost_low=0.5, cost_high=8, distance=50, low=49.9, high=50.1)
    assert not beats(cheap_bad, wide)
    assert cost_alike([cheap_bad, wide])
    assert not cost_alike([cheap_bad, dear_good])
    unknown = point(6, 0.1, 1, half=math.inf)
    assert on_front([unknown, cheap_bad, dear_good]) == [True, True, True]


@pytest.mark.fast
def test_knobs_and_budgets_are_read() -> None:
    knob = parse_knob("steps=4:64")
    assert (knob.name, knob.within) == ("steps", Range(4, 64, is_whole=True))
    assert [parse_budget(text) for text in ("90s", "20m", "1.5h")] == [90, 1200, 5400]
    for text in ("", "20", "0m", "-1s", "xm", "infh"):
        with pytest.raises(UsageError, match="--budget"):
            parse_budget(text)
    for text in ("steps", "steps=4", "=1:2", "steps=a:b", "steps=4:4", "steps=nan:1"):
        with pytest.raises(UsageError, match="--knob"):
            parse_knob(text)


def rows(**columns: list[object]) -> pd.DataFrame:
    count = len(next(iter(columns.values())))
    plain = {
        "model": "m", "resolution": 32, "width": None, "batch": 8, "dtype": "fp32", "mode": "eager",
        "device": "cpu", "machine": "here", "origin": "own", "threads": 2, "identity": "i", "quality": "cnn", "status": "ok", "weights": "file",
        "weights_sha256": "0" * 64, "started": "2026", "flags": "",
    }  # fmt: skip
    return pd.DataFrame({name: [value] * count for name, value in plain.items()} | columns)


@pytest.mark.fast
def test_curves_are_of_one_knob_and_other_settings_tell_them_apart() -> None:
    variants = [f"scheduler={s}; steps={n}" for s in ("own", "ddim") for n in (16, 2, 8)]
    frame = rows(
        **{
            "variant": variants,
            "fd[cnn]": [10.0, 30.0, 20.0, 9.0, 29.0, 19.0],
            "fd[cnn].low": [9.0, 29.0, 19.0, 8.0, 28.0, 18.0],
            "fd[cnn].high": [11.0, 31.0, 21.0, 10.0, 30.0, 20.0],
            "throughput.core": [1.0, 8.0, 2.0, 1.0, 8.0, 2.0],
        }
    )
    found = list(curves(frame))
    assert [(one.label, one.knob) for one in found] == [
        ("m (scheduler=own)", "steps"),
        ("m (scheduler=ddim)", "steps"),
    ]
    table = found[0].frame()
    assert table["value"].tolist() == ["2", "8", "16"]
    assert table["ms"].tolist() == [125, 500, 1000]
    figure = frontier(frame, Look.of(frame))
    assert figure is not None
    assert figure.title == "Quality against steps"
    assert not figure.frame["beaten in time"].any()
    assert "svg" in figure.svg()


@pytest.mark.fast
def test_without_a_knob_there_is_no_curve() -> None:
    assert frontier(rows(**{"variant": ["", ""], "fd[cnn]": [1.0, 2.0]}), Look(("m",))) is None
    assert frontier(rows(**{"variant": ["steps=1"], "fd[cnn]": [1.0]}), Look(("m",))) is None
    assert frontier(rows(variant=["steps=1", "steps=2"]), Look(("m",))) is None


def test_frontier_measures_until_no_gap_is_left_and_draws(sfbench: Command, tmp_path: Path) -> None:
    done = sfbench(
        "frontier", "--model", "styleformer", "--option", "preset=nano", "--res", "32",
        "--knob", "truncation_psi=0.3:1.0", "--budget", "10m", "--samples", "40", "--json",
        "--batch", "8", "--blocks", "2", "--block-seconds", "0.01", "--latency-calls", "3",
        "--warmup-seconds", "0.01", "--figure", "f.svg",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    values = [float(one["value"]) for one in document["points"]]
    assert values == sorted(values)
    assert {0.3, 0.65, 1.0} <= set(values)
    assert document["knob"] == "truncation_psi"
    assert all(math.isfinite(one["distance"]) for one in document["points"])
    assert (tmp_path / "f.svg").read_text().startswith("<svg")
    told = sfbench("frontier", "--model", "styleformer", "--knob", "nosuch=1:2", "--res", "32")
    assert told.returncode == 2
    assert "has no option nosuch" in told.stderr


@pytest.mark.fast
def test_only_rows_alike_beat_each_other() -> None:
    frame = rows(
        **{
            "variant": ["steps=1", "steps=2"] * 2,
            "resolution": [8, 8, 64, 64],
            "fd[cnn]": [100.0, 50.0, 1.0, 0.5],
            "fd[cnn].low": [99.0, 49.0, 0.9, 0.4],
            "fd[cnn].high": [101.0, 51.0, 1.1, 0.6],
            "throughput.core": [8.0, 4.0, 800.0, 400.0],
        }
    )
    figure = frontier(frame, Look.of(frame))
    assert figure is not None
    assert not figure.frame["beaten in time"].any()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--res", "8:16"), "--res: a frontier is one curve"),
        (("--batch", "1,8"), "--batch: a frontier is one curve"),
        (("--mode", "eager,compile"), "--mode: a frontier is one curve"),
        (("--sweep", "noise=const,none"), "--sweep: a frontier is one curve"),
        (("--option", "truncation_psi=0.7"), "it is the knob"),
        (("--measure", "quality"), "a frontier is of speed and quality"),
        (("--budget", "x"), "--budget x"),
        (("--figure", "f.gif"), "expected a file name that ends in"),
    ],
)
def test_what_is_no_single_curve_is_refused(
    arguments: tuple[str, ...], words: str, sfbench: Command
) -> None:
    knob = ("--model", "styleformer", "--knob", "truncation_psi=0.5:1.0")
    done = sfbench("frontier", *knob, *arguments)
    assert done.returncode == 2
    assert words in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--sweep", "truncation_psi=0.5,1", "--option", "truncation_psi=0.7"), "is swept, too"),
        (("--sweep", "nosuch=1,2"), "has no option nosuch"),
        (("--sweep", "truncation_psi=a,b"), "expected float"),
    ],
)
def test_a_sweep_that_cannot_be_is_refused_before_anything_is_measured(
    arguments: tuple[str, ...], words: str, sfbench: Command
) -> None:
    done = sfbench("run", "--model", "styleformer", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
