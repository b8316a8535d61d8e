"""`--dtype int8`: linear layers with 8-bit weights, what it does to images, and where it is refused."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from graph_making import SHORT, WIDTH, Tiny
from torch import nn

from sfbench.api import BuildRequest, ModuleGenerator
from sfbench.api.errors import UnsupportedError
from sfbench.speed.memory import weights_reading

Command = Callable[..., subprocess.CompletedProcess[str]]
pytest.importorskip("torchao", reason="torchao: nox -s extras has it")
pytestmark = pytest.mark.filterwarnings("default")


def generator(dtype: str, module: nn.Module | None = None) -> ModuleGenerator:
    request = BuildRequest(resolution=16, dtype=dtype)
    return ModuleGenerator(module or Tiny(), request, latent_shape=(WIDTH,))


def test_quantized_layers_are_near_smaller_and_independent_of_the_batch() -> None:
    plain, small = generator("float32"), generator("qint8")
    with torch.inference_mode():
        latents = plain.draw_latents(range(8))
        expected, images = plain.synthesize(latents), small.synthesize(latents)
        alone = small.synthesize(small.draw_latents(range(3, 4)))
    assert not torch.equal(images, expected)
    assert (images - expected).abs().max() < 0.1
    assert torch.allclose(alone[0], images[3], atol=1e-6)
    sizes = [weights_reading(one, one.module).value for one in (plain, small)]
    assert sizes[1] is not None
    assert sizes[0] is not None
    assert sizes[1] < 0.5 * sizes[0]


def test_a_model_without_linear_layers_is_refused() -> None:
    with pytest.raises(UnsupportedError, match=r"no torch\.nn\.Linear layer"):
        generator("qint8", nn.Conv2d(3, 3, 1))


def test_a_run_records_it_and_how_far_it_is_from_single_precision(
    sfbench: Command, tmp_path: Path
) -> None:
    (tmp_path / "nets.py").write_text("from graph_making import Tiny as make\n")
    done = sfbench(
        "run", "--model", "module:nets:make", "--res", "16", "--dtype", "int8",
        "--measure", "speed,memory", "--json", *SHORT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout
    (record,) = json.loads(done.stdout)
    found = {one["metric"]: one for one in record["readings"]}
    assert 0 < found["difference.eager_fp32"]["value"] < 0.2
    assert found["mfu"]["value"] is None
    assert "no roof is measured for int8" in found["mfu"]["reason"]
