"""Variance over training and evaluation: intervals that cover, runs that suffice, and luck."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sfbench.report import variance
from sfbench.report.beside import Beside, Retraining
from sfbench.report.best_snapshot import best_snapshot, optimism
from sfbench.report.reproduction import Wanted, frame
from sfbench.report.variance import Squares, components, runs_needed, trained_difference
from sfbench.report.verdict_table import notes
from sfbench.report.verdicts import Row
from sfbench.store.lotteries import Lottery, StoredSpread, keep_lottery
from sfbench.store.training_runs import TrainingRun
from sfbench.values.records import Reading, Record

Command = Callable[..., subprocess.CompletedProcess[str]]


def drawn(
    source: np.random.Generator, between: float, within: float, mean: float = 0.0
) -> list[list[float]]:
    """Return values of five runs with four evaluations each."""
    runs = between * source.normal(size=(5, 1))
    found: list[list[float]] = (mean + runs + within * source.normal(size=(5, 4))).tolist()
    return found


@pytest.mark.fast
@pytest.mark.parametrize(("between", "within"), [(0.1, 1.0), (1.0, 1.0), (1.0, 0.1)])
def test_intervals_of_the_components_cover_the_truth(between: float, within: float) -> None:
    source = np.random.default_rng(0)
    found = [components(drawn(source, between, within)) for _ in range(600)]
    inside = [
        np.mean([one.between.low <= between <= one.between.high for one in found]),
        np.mean([one.within.low <= within <= one.within.high for one in found]),
        np.mean([one.low <= 0 <= one.high for one in found]),
    ]
    assert all(0.92 < share < 0.98 for share in inside), inside
    assert np.mean([one.within.value**2 for one in found]) == pytest.approx(within**2, rel=0.05)


@pytest.mark.fast
def test_the_interval_between_runs_is_that_of_modified_large_samples() -> None:
    found = Squares(between=32.0, within=1.6, runs=5, each=3).spread_between()
    assert found.value**2 == pytest.approx((32 - 1.6) / 3)
    assert (found.low**2, found.high**2) == pytest.approx((3.2524, 87.4969), rel=1e-4)
    nothing = Squares(between=1.0, within=2.0, runs=5, each=3).spread_between()
    assert (nothing.value, nothing.low) == (0, 0)
    for values in ([[1.0, 2.0]], [[1.0], [2.0]], [[1.0, 2.0], [1.0]]):
        with pytest.raises(ValueError, match="expected two runs or more"):
            components(values)


@pytest.mark.fast
def test_so_many_runs_show_a_difference_four_times_of_five() -> None:
    source = np.random.default_rng(3)
    model = components(drawn(source, 1.0, 0.5))
    spread = np.sqrt(model.variance_of_a_run)
    runs = runs_needed(model, model, 2.0 * spread)
    assert runs == 6
    seen = np.mean([trained(source, spread, runs, 0.0, 2.0 * spread) for _ in range(800)])
    assert 0.78 < seen < 0.95
    assert runs_needed(model, model, 1e-9) is None


def trained(source: np.random.Generator, spread: float, runs: int, *means: float) -> bool:
    """Return whether so many runs show the difference of two means."""
    sides = [
        components([[value, value] for value in mean + spread * source.normal(size=runs)])
        for mean in means
    ]
    return trained_difference(*sides).certain


@pytest.mark.fast
def test_a_difference_over_retraining_has_the_run_as_its_unit() -> None:
    one = components([[1.0, 1.2], [1.1, 1.3], [0.9, 1.1]])
    far = components([[5.0, 5.2], [5.1, 5.3], [4.9, 5.1]])
    found = trained_difference(one, far)
    assert found.change == pytest.approx(4.0)
    assert found.certain
    assert found.low < 4 < found.high
    equal = components([[1.0, 1.0], [1.0, 1.0]])
    assert trained_difference(equal, equal).p == 1


@pytest.mark.fast
def test_the_least_of_several_is_too_low() -> None:
    expected = {2: 0.5642, 3: 0.8463, 5: 1.1630, 10: 1.5388}
    assert {k: round(variance.least_of(k), 4) for k in expected} == expected
    assert optimism([5.0] * 3, [0.1] * 3) == pytest.approx(0.08463, rel=0.05)
    # A snapshot far below the others was not chosen by luck.
    assert optimism([5.0, 9.0, 9.0], [0.1] * 3) == pytest.approx(0.0, abs=0.01)


@pytest.mark.fast
def test_the_best_snapshot_says_how_lucky_it_was() -> None:
    lines = [
        {
            "step": i,
            "kimg": i * 1.0,
            "quality/fd[x]": 9.0 + i % 2,
            "quality/fd[x]/standard_error": 0.5,
        }
        for i in range(1, 7)
    ]
    found = best_snapshot(TrainingRun(name="r", asked={}, lines=lines))
    assert found is not None
    assert (found.value, found.snapshots) == (9.0, 6)
    assert found.optimism is not None
    assert "best of 6 snapshots: fd[x] 9 at 2 kimg; being chosen" in found.told()
    bare = [{name: value for name, value in line.items() if "error" not in name} for line in lines]
    plain = best_snapshot(TrainingRun(name="r", asked={}, lines=bare))
    assert plain is not None
    assert plain.optimism is None
    assert best_snapshot(TrainingRun(name="r", asked={}, lines=[{"step": 1}])) is None


DATA = {"kind": "shapes", "sha256": None}
CASE = {
    "model": "m", "resolution": 8, "options": {"a": 1}, "data": DATA, "seed": 3,
    "weights": {"sha256": "x"},
}  # fmt: skip


def lottery(mean: float, deviation: float) -> Lottery:
    """Return a kept lottery of the case."""
    spread = StoredSpread(value=deviation, low=0.0, high=2 * deviation)
    return Lottery(
        model="m", resolution=8, options={"a": 1}, data=DATA, preset="nano", kimg=1.0, metric="fid",
        samples=10, values=[[mean, mean]] * 2, mean=mean, low=mean, high=mean, between=spread,
        within=spread,
    )  # fmt: skip


@pytest.mark.fast
def test_a_difference_counts_retraining_where_it_is_known(tmp_path: Path) -> None:
    other = CASE | {"weights": {"sha256": "y"}}
    beside = Beside((tmp_path, tmp_path))
    unknown = beside.retraining([CASE, other], "fid", (4.0, 5.0), (0.8, 1.2))
    assert unknown == Retraining()
    assert beside.retraining([CASE, CASE], "fid", (4.0, 5.0), (0.8, 1.2)) is None
    assert Beside().retraining([CASE, other], "fid", (4.0, 5.0), (0.8, 1.2)) is None
    keep_lottery(tmp_path, lottery(8.0, 0.4))
    found = beside.retraining([CASE, other], "fid", (4.0, 5.0), (0.8, 1.2))
    assert found is not None
    # 5 % of each value, and the half width of 0.2.
    half = np.hypot(0.2, 1.96 * np.hypot(0.2, 0.25))
    assert (found.low, found.high) == pytest.approx((1 - half, 1 + half), rel=1e-3)
    elsewhere = other | {"data": {"kind": "file", "sha256": "z"}}
    assert beside.retraining([CASE, elsewhere], "fid", (4.0, 5.0), (0.8, 1.2)).low is None
    row = Row(title="t", metric="fid", retraining=found)
    assert any(
        "with both models trained again the difference would last" in n for n in notes([row])
    )
    (tmp_path / "lotteries" / "m-damaged.json").write_text("{")
    for path in (tmp_path / "lotteries").glob("*.json"):
        path.write_text("{")
    assert beside.retraining([CASE, other], "fid", (4.0, 5.0), (0.8, 1.2)) == Retraining()


@pytest.mark.fast
def test_a_published_value_agrees_within_what_training_again_moves(tmp_path: Path) -> None:
    reading = Reading(metric="fid", value=4.0, low=3.9, high=4.1)
    measured = Record(
        identity="i", case_key="k", case=CASE | {"samples": 50_000}, trial=0, attempt=0,
        status="ok", readings=(reading,),
    )  # fmt: skip
    row = Wanted(title="t", published={"fid": 4.3}, lacks=[], records=[measured], store=tmp_path)
    (line,) = frame([row]).to_dict("records")
    assert line["verdict"] == "lower"
    assert "not known (sfbench lottery)" in line["reason"]
    keep_lottery(tmp_path, lottery(8.0, 0.4))
    (line,) = frame([row]).to_dict("records")
    assert line["verdict"] == "agrees"
    assert "within what training again moves it" in line["reason"]


def test_a_lottery_trains_judges_and_is_remembered(
    sfbench_process: Command, tmp_path: Path
) -> None:
    asked = ["lottery", "--model", "stylegan2", "--preset", "nano-16", "--train-kimg", "0.064"]
    short = ["--train-seeds", "2", "--sample-seeds", "2", "--samples", "40", "--store", "S"]
    done = sfbench_process(*asked, *short, "--json")
    assert done.returncode == 0, done.stderr
    (model,) = json.loads(done.stdout)["models"]
    assert np.shape(model["values"]) == (2, 2)
    assert len({value for run in model["values"] for value in run}) == 4
    assert model["between"]["low"] <= model["between"]["value"] <= model["between"]["high"]
    assert len(list((tmp_path / "S" / "training").iterdir())) == 2
    again = sfbench_process(*asked, *short)
    assert "0 trials to measure" in again.stderr
    assert "training stylegan2" not in again.stderr
    assert "sd of training" in again.stdout
    for flag, value in (("--train-seeds", "1"), ("--preset", "huge"), ("--train-kimg", "0")):
        refused = (
            sfbench_process(*asked, *short, flag, value)
            if flag not in asked
            else sfbench_process(
                *[value if asked[place - 1] == flag else word for place, word in enumerate(asked)],
                *short,
            )
        )
        assert refused.returncode == 2, refused.stderr
        assert refused.stderr.startswith(f"error: {flag}")
