from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import worlds

from reference_models.equalized import initialize
from reference_models.styleformer import Styleformer
from reference_models.styleformer_config import StyleformerConfig
from reference_models.stylegan2 import StyleGAN2, StyleGAN2Config

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(autouse=True)
def _without_shape_checks(request: pytest.FixtureRequest) -> None:
    if not request.config.getoption("--no-shapes"):
        pytest.skip("compiled code is tested without shape checks: nox -s compiled")


pytestmark = [pytest.mark.compiled, pytest.mark.filterwarnings("default")]

MODELS = {
    "full": lambda: Styleformer(
        StyleformerConfig(widths=(32, 16), layers=(1, 1), z_dim=16, w_dim=16, head_width=8)
    ),
    "linformer": lambda: Styleformer(
        StyleformerConfig(
            widths=(32, 16, 8), layers=(1, 1, 1), z_dim=16, w_dim=16, head_width=8, linformer=True
        )
    ),
    "stylegan2": lambda: StyleGAN2(
        StyleGAN2Config(resolution=16, z_dim=16, w_dim=16, channel_base=256)
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_compiled_images_equal_eager_ones(name: str) -> None:
    model = MODELS[name]().eval().requires_grad_(requires_grad=False)
    initialize(model, torch.Generator().manual_seed(0))
    z = torch.randn(2, 16, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        eager = model(z)
        model.compile(fullgraph=True)
        torch.testing.assert_close(model(z), eager, rtol=1e-4, atol=1e-5)


def test_a_run_in_compile_mode_records_its_cost_and_its_difference(sfbench: Command) -> None:
    done = sfbench(
        "run", "--model", "styleformer", "--res", "8", "--mode", "compile", "--measure", "memory", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (record,) = json.loads(done.stdout)
    readings = {reading["metric"]: reading["value"] for reading in record["readings"]}
    # Cold and warm are of this trial's own caches, whatever the user's hold.
    assert readings["cold.compile"] > readings["warm.compile"] > 0
    assert record["provenance"]["compiler_caches"] == "private, empty at first"
    assert record["provenance"]["reference_check"]["compiled_against_eager"] < 1e-3


def test_compiled_training_has_the_gradients_of_plain_training(tmp_path: Path) -> None:
    """The check at the start passes, path lengths and R1 included, and steps can be taken."""
    torch.compiler.reset()
    learner = worlds.learner("styleformer", compiled=True)
    data = worlds.images(tmp_path / "data")
    worlds.trainer(learner, data, tmp_path / "run", 5).run()
    plain = worlds.learner("styleformer")
    worlds.trainer(plain, data, tmp_path / "plain", 5).run()
    found, expected = (one.state_dict()["average"] for one in (learner, plain))
    for name, tensor in expected.items():
        assert (found[name] - tensor).abs().max() <= 0.02 * tensor.abs().max().clamp_min(0.1), name
