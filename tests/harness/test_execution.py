from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sfbench.api.errors import UnsupportedError
from sfbench.api.latents import Latents
from sfbench.generators.execution import tensors_in
from sfbench.hardware.devices import find_backend
from sfbench.speed.energy import energy_reading
from sfbench.speed.kernels import fallback_kernels
from sfbench.speed.roofline import measured_roofline, roofline_readings

CPU = find_backend("cpu")
Command = Callable[..., subprocess.CompletedProcess[str]]
FAULTS = str(Path(__file__).with_name("misbehaving.py"))


@pytest.mark.fast
def test_every_tensor_of_latents_is_found_in_order_and_strangers_are_refused() -> None:
    z, noise = torch.zeros(2), [torch.ones(3), torch.full((1,), 2.0)]
    found = list(tensors_in(Latents(z=z, c=None, noise=noise)))
    assert [tensor.tolist() for tensor in found] == [[0, 0], [1, 1, 1], [2]]
    assert len(list(tensors_in({"a": (z, 3, "x"), "b": None}))) == 1
    with pytest.raises(UnsupportedError, match="Generator"):
        list(tensors_in([torch.Generator()]))


@pytest.mark.fast
def test_the_share_of_the_roof_is_operations_times_rate_over_the_roof() -> None:
    roof = measured_roofline(CPU, torch.float32)
    assert roof.flops > 1e8
    assert roof.bandwidth > 1e8
    found = {r.metric: r for r in roofline_readings(roof, roof.flops / 10, 5.0, "fp32")}
    assert found["mfu"].value == pytest.approx(0.5)
    absent = {r.metric: r for r in roofline_readings(roof, None, 5.0, "fp32")}
    assert absent["mfu"].reason == "operations or throughput were not measured"


@pytest.mark.fast
def test_energy_without_a_counter_is_null_with_the_reason() -> None:
    reading = energy_reading(lambda: torch.zeros(4), batch=1, backend=CPU)
    if reading.value is None:
        assert reading.reason
    else:
        assert reading.value > 0


@pytest.mark.fast
def test_attention_by_parts_is_seen() -> None:
    q = torch.randn(1, 2, 8, 4)

    def by_parts() -> object:
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            return torch.nn.functional.scaled_dot_product_attention(q, q, q)

    assert fallback_kernels(by_parts, CPU) == ["aten::_scaled_dot_product_attention_math"]
    assert fallback_kernels(lambda: q @ q.transpose(2, 3), CPU) == []


def test_half_precision_says_how_far_it_is_from_single(sfbench: Command) -> None:
    done = sfbench(
        "run", "--model", "fault-none", "--res", "16", "--measure", "memory", "--plugin", FAULTS,
        "--dtype", "bf16", "--mode", "eager,cuda-graph", "--device", "cpu", "--json",
    )  # fmt: skip
    records = {record["case"]["mode"]: record for record in json.loads(done.stdout)}
    eager = records["eager"]
    readings = {reading["metric"]: reading for reading in eager["readings"]}
    assert 0 < readings["difference.eager_fp32"]["value"] < 0.05
    assert readings["difference.eager_fp32"]["how"]["images"] == 8
    assert readings["memory.host_peak_cold"]["value"] > 0
    assert {"build", "reference check"} <= set(eager["provenance"]["host_peak_by_phase"])
    graph = records["cuda-graph"]
    assert graph["status"] == "unsupported"
    assert "NVIDIA GPU" in graph["reason"]
