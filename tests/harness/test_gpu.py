"""Whole commands on a GPU: precisions, modes, memory, energy, quality, and training; skipped without one."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sfbench.api import BuildRequest
from sfbench.catalogue.registry import find_generator, load_plugin, plugin_sources
from sfbench.generators import contract
from sfbench.hardware.devices import find_backend
from sfbench.hardware.policy import kept_settings, set_policy
from sfbench.train.state import finite, load_state

GPU = "cuda"
pytestmark = pytest.mark.skipif(not find_backend(GPU).present(), reason="no NVIDIA GPU here")
Command = Callable[..., subprocess.CompletedProcess[str]]
SHORT = (
    "--warmup-seconds", "0.2", "--blocks", "3", "--block-seconds", "0.05", "--latency-calls", "5",
    "--device", GPU, "--json",
)  # fmt: skip
NANO = ("--option", "preset=nano")
MODELS = ("styleformer", "styleformer-linformer", "styleformer-c", "stylegan2")


def run(sfbench: Command, *asked: str) -> list[dict[str, Any]]:
    done = sfbench("run", *asked, *SHORT)
    records = json.loads(done.stdout)
    assert [(r["case"]["model"], r["status"], r["reason"]) for r in records] == [
        (r["case"]["model"], "ok", None) for r in records
    ], done.stderr
    return list(records)


def values(record: dict[str, Any]) -> dict[str, Any]:
    return {reading["metric"]: reading["value"] for reading in record["readings"]}


@pytest.mark.parametrize("model", MODELS)
def test_images_are_those_of_the_cpu(model: str) -> None:
    plugins = [load_plugin(source) for source in plugin_sources([], [])]
    _, spec = find_generator(plugins, model)
    options = {option.name: option.default for option in spec.options} | {"preset": "nano"}
    images = {}
    for device in ("cpu", GPU):
        with kept_settings(), torch.inference_mode():
            set_policy(find_backend(device), "fp32", 4)
            made = spec.build(BuildRequest(resolution=32, options=options, device=device))
            images[device] = contract.draw(made, [0, 1, 2]).cpu()
    assert contract.relative_difference(images[GPU], images["cpu"]) < 1e-5


def test_every_precision_is_computed_and_measured(sfbench_trials: Command) -> None:
    asked = ("--model", "styleformer-linformer,stylegan2", "--res", "64")
    asked = (*asked, "--measure", "speed,memory")
    records = run(sfbench_trials, *asked, "--dtype", "fp32,tf32,bf16,fp16")
    assert len(records) == 8
    for record in records:
        found, dtype = values(record), record["case"]["dtype"]
        names = ("requested_peak", "allocated_peak", "reserved_peak", "in_use")
        assert all(found[f"memory.device_{name}"] > 0 for name in names)
        assert found["throughput.core"] > 0
        assert record["provenance"]["gpu"]["name"]
        if dtype != "fp32":
            assert 0 < found["difference.eager_fp32"] < 0.05


def test_every_mode_gives_the_same_images(sfbench_trials: Command) -> None:
    modes = "compile,compile-reduce-overhead,cuda-graph"
    asked = ("--model", "styleformer-linformer,stylegan2", "--res", "64", "--mode", modes)
    records = run(sfbench_trials, *asked, "--measure", "speed,memory")
    for record in records:
        found, mode = values(record), record["case"]["mode"]
        assert found["difference.eager_fp32"] < 1e-4
        assert found["cold.compile"] > 0
        if mode == "cuda-graph":
            assert any(name.startswith("memory.pool[graph") for name in found)


def test_energy_and_the_least_memory_are_measured(sfbench_trials: Command) -> None:
    asked = ("--model", "styleformer", "--res", "32", "--measure", "memory,energy", "--min-memory")
    (record,) = run(sfbench_trials, *asked)
    found = values(record)
    assert found["energy"] > 0
    assert 0 < found["memory.minimum"] < 1 << 34


def test_quality_is_that_of_the_cpu(sfbench_trials: Command) -> None:
    asked = (
        "--model",
        "styleformer",
        "--res",
        "32",
        *NANO,
        "--measure",
        "quality",
        "--samples",
        "256",
    )
    (gpu,) = run(sfbench_trials, *asked)
    done = sfbench_trials("run", *asked, "--device", "cpu", "--json")
    (cpu,) = json.loads(done.stdout)
    on_gpu, on_cpu = values(gpu), values(cpu)
    assert on_gpu.keys() == on_cpu.keys()
    for metric, value in on_cpu.items():
        if metric.startswith("fd["):
            assert on_gpu[metric] == pytest.approx(value, rel=1e-3)


@pytest.mark.parametrize(
    "extra", [(), ("--dtype", "tf32"), ("--dtype", "bf16"), ("--mode", "compile")]
)
@pytest.mark.parametrize("model", ["styleformer", "stylegan2"])
def test_a_model_is_trained(model: str, extra: tuple[str, ...], sfbench_process: Command) -> None:
    asked = ("train", "--model", model, "--preset", "nano-16", "--kimg", "1.024", "--metrics", "0")
    done = sfbench_process(*asked, "--device", GPU, "--out", "run", "--json", *extra)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines[-1]["seconds_left"] == 0
    assert lines[-1]["peak_bytes"] > 0


@pytest.mark.parametrize("model", ["styleformer", "stylegan2"])
def test_a_run_is_resumed_where_it_was_cut(
    model: str, sfbench_process: Command, tmp_path: Path
) -> None:
    """Not to the same bits: sums on a GPU have no fixed order."""
    asked = ("train", "--model", model, "--preset", "nano-16", "--metrics", "0", "--device", GPU)
    steps = []
    for kimg in ("0.256", "0.512"):
        done = sfbench_process(*asked, "--out", "run", "--kimg", kimg, "--resume", "--json")
        assert done.returncode == 0, done.stderr
        steps.append([json.loads(line)["step"] for line in done.stdout.splitlines()])
        state = load_state(tmp_path / "run")
        assert state is not None
        assert state.step == steps[-1][-1]
        assert finite(state.tree["learner"])
    assert steps[1][0] > steps[0][-1]
