from __future__ import annotations

import time

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from sfbench.hardware.devices import find_backend
from sfbench.speed.blocks import calls_per_block, time_block
from sfbench.speed.complexity import flop_reading
from sfbench.speed.intervals import median, quantile, quantile_interval
from sfbench.speed.memory import device_readings, measure_memory
from sfbench.speed.operations import Counter
from sfbench.speed.throughput import is_steady, measure_region

CPU = find_backend("cpu")
pytestmark = pytest.mark.fast


def test_quantiles_interpolate_between_order_statistics() -> None:
    assert median([3.0, 1.0, 2.0]) == 2
    assert median([4.0, 1.0]) == 2.5
    assert quantile([0.0, 10.0], 0.9) == 9


def test_the_interval_of_a_median_is_that_of_the_tables() -> None:
    # Order statistics 2 and 9 of 10 cover the median with 97.85 % (David and Nagaraja, table 7.1).
    found = quantile_interval([float(i) for i in range(1, 11)], 0.5)
    assert found is not None
    assert found[:2] == (2.0, 9.0)
    assert found[2] == pytest.approx(0.9785, abs=1e-4)


def test_five_values_cannot_bound_a_median_with_95_percent() -> None:
    assert quantile_interval([1.0, 2.0, 3.0, 4.0, 5.0], 0.5) is None
    assert quantile_interval([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 0.5) is not None


def test_the_interval_covers_as_often_as_it_says() -> None:
    source = torch.Generator().manual_seed(0)
    samples = torch.rand(4000, 12, generator=source).tolist()
    hits = 0
    for sample in samples:
        found = quantile_interval(sample, 0.5)
        assert found is not None
        hits += found[0] <= 0.5 <= found[1]
    assert hits / len(samples) == pytest.approx(0.9614, abs=0.01)


def test_a_block_is_at_least_a_quarter_of_a_second() -> None:
    assert calls_per_block(0.1) == 3
    assert calls_per_block(7.0) == 1


def test_a_slope_or_a_spread_is_not_steady() -> None:
    assert is_steady([1.0, 1.01, 0.99, 1.0, 1.0, 1.01, 0.99, 1.0])
    assert not is_steady([2.0, 1.8, 1.6, 1.4, 1.2, 1.1, 1.05, 1.0])
    assert not is_steady([1.0])


def test_a_region_measures_a_known_rate() -> None:
    reading, _ = measure_region("core", lambda: time.sleep(0.01), batch=4, backend=CPU)
    # Sleeping takes its 10 ms and what the system adds; never less.
    assert 200 < (reading.value or 0) < 400
    assert reading.low is not None
    assert reading.low <= reading.value <= (reading.high or 0)
    assert reading.how["blocks"] == len(reading.samples)


def test_the_harness_costs_less_than_one_percent_of_a_bare_loop() -> None:
    x = torch.randn(192, 192, generator=torch.Generator().manual_seed(0))
    calls = 400

    def work() -> object:
        return x @ x

    def bare() -> float:
        start = time.perf_counter()
        for _ in range(calls):
            work()
        return time.perf_counter() - start

    time_block(work, calls, CPU)
    pairs = [(time_block(work, calls, CPU).seconds, bare()) for _ in range(25)]
    pairs += [
        pair[::-1] for pair in [(bare(), time_block(work, calls, CPU).seconds) for _ in range(25)]
    ]
    ratios = [timed / loop for timed, loop in pairs]
    # The median ratio, less what noise alone moves it by here.
    noise = quantile_interval(ratios, 0.5)
    assert noise is not None
    assert noise[0] < 1.01


def test_memory_is_measured_or_null_with_a_reason() -> None:
    def work() -> object:
        return torch.ones(64 << 20, dtype=torch.uint8).sum()

    readings = {r.metric: r for r in measure_memory(work, batch=1, backend=CPU, loaded=1)}
    peak = readings["memory.host_peak"]
    assert peak.reason or (peak.value or 0) > 64 << 20
    for reading in device_readings(CPU, {}):
        assert reading.value is None
        assert reading.reason == "measured on the CPU: no GPU memory"


def test_operations_of_a_model_that_cannot_run_on_meta_are_null_with_the_reason() -> None:
    def build() -> object:
        msg = "needs real data"
        raise RuntimeError(msg)

    reading = flop_reading(build)
    assert reading.value is None
    assert reading.reason == "not on the meta device: needs real data"


@pytest.mark.parametrize("inference", [False, True])
def test_operations_are_those_of_torchs_own_counter(*, inference: bool) -> None:
    """Products, convolutions and attention; in inference mode linear layers arrive whole."""
    with torch.device("meta"):
        model = torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 3, groups=1),
            torch.nn.Flatten(2),
            torch.nn.Linear(36, 10),
            torch.nn.TransformerEncoderLayer(10, 2, 16, batch_first=True),
        )
        images = torch.empty(2, 3, 8, 8)
    model.eval().requires_grad_(requires_grad=False)
    with Counter() as ours, torch.inference_mode(mode=inference):
        model(images)
    with FlopCounterMode(display=False) as theirs:
        model(images)
    assert ours.total == theirs.get_total_flops() > 0
