from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sfbench.report import scaling_figure, scaling_table
from sfbench.report.scaling import crossover, fitted
from sfbench.values.records import Reading, Record

pytestmark = pytest.mark.fast
SIDES = (32, 64, 128, 256)


def costs(a: float, b: float, c: float, spread: float = 0.0) -> dict[int, list[float]]:
    source = np.random.default_rng(0)
    return {
        r: [(a + b * r**2 + c * r**4) * float(np.exp(spread * source.standard_normal())) for _ in range(5)]
        for r in SIDES
    }  # fmt: skip


def test_the_fit_finds_the_terms_that_are_there() -> None:
    found = fitted(costs(1e-3, 2e-7, 3e-11))
    assert [c.value for c in found.coefficients] == pytest.approx([1e-3, 2e-7, 3e-11], rel=1e-6)
    assert found.worst < 1e-6
    assert sum(found.shares[64]) == pytest.approx(1)
    assert found.shares[256][2] > found.shares[32][2]


def test_a_term_that_is_not_there_is_zero() -> None:
    found = fitted(costs(0, 2e-7, 0))
    assert found.shares[128] == pytest.approx((0, 1, 0), abs=1e-6)
    assert found.exponent.value == pytest.approx(2)
    assert all(slope.value == pytest.approx(2) for slope in found.slopes.values())


def test_the_interval_of_a_noisy_fit_holds_the_truth() -> None:
    found = fitted(costs(1e-3, 2e-7, 0, spread=0.03))
    low, high = found.coefficients[1].low, found.coefficients[1].high
    assert low <= 2e-7 <= high
    assert low < high


def test_two_models_cross_where_their_costs_are_equal() -> None:
    # r^4 against r^2 with the same cost at 100 px.
    pairs, pixels = fitted(costs(0, 0, 1e-11)), fitted(costs(0, 1e-7, 0))
    met = crossover(pairs, pixels)
    assert met is not None
    assert met.value == pytest.approx(100, rel=1e-3)
    assert crossover(pixels, fitted(costs(0, 2e-7, 0))) is None


def test_two_resolutions_are_too_few() -> None:
    with pytest.raises(ValueError, match="2 resolutions"):
        fitted({32: [1.0], 64: [2.0]})


def record(model: str, side: int, seconds: float) -> Record:
    case = {"model": model, "resolution": side, "batch": 8}
    readings = (
        Reading(
            metric="throughput.core", unit="images/s", value=1 / seconds,
            samples=(0.99 / seconds, 1 / seconds, 1.01 / seconds),
        ),
        Reading(metric="flops", unit="FLOP/image", value=side**4),
        Reading(metric="memory.host_above_loaded", unit="bytes", value=side**2),
    )  # fmt: skip
    return Record(
        identity="", case_key="", case=case, trial=0, attempt=0, status="ok", readings=readings
    )


def test_figure_and_table_show_the_same_frame(tmp_path: Path) -> None:
    curves = [
        scaling_table.curve(name, [record(name, side, cost * side**power) for side in SIDES])
        for name, cost, power in (("pairs", 1e-11, 4), ("pixels", 1e-7, 2))
    ]
    document = scaling_table.document(curves)
    assert document["fits"]["pairs"]["flop_exponent"] == pytest.approx(4)
    assert document["fits"]["pixels"]["memory_exponent"] == pytest.approx(2)
    assert document["crossovers"][0]["resolution"]["value"] == pytest.approx(100, rel=1e-2)
    scaling_figure.write(curves, tmp_path / "f.json")
    drawn = json.loads((tmp_path / "f.json").read_text())["datasets"]
    shown = {
        (row["model"], row["resolution"]): row["seconds"]
        for rows in drawn.values()
        for row in rows
        if "seconds" in row
    }
    assert shown == {(row["model"], row["resolution"]): row["seconds"] for row in document["rows"]}
    scaling_figure.write(curves, tmp_path / "f.svg")
    assert (tmp_path / "f.svg").read_text().startswith("<svg")
