"""Training with the native kernels ends where training with torch's operations does, to rounding."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from reference_models.native.convolutions import NativeConvolutions
from reference_models.winograd import Convolving
from sfbench.api import BuildRequest, UnsupportedError
from sfbench_stylegan2 import sfbench_generators

Command = Callable[..., subprocess.CompletedProcess[str]]
pytestmark = [pytest.mark.xdist_group("native"), pytest.mark.usefixtures("native_library")]
# One block of the discriminator is wide enough at 16 px; generators are not.
SIZES = (
    "--res",
    "16",
    "--batch",
    "8",
    "--set",
    "d_channel_base=2048",
    "--set",
    "d_channel_max=128",
)
SHORT = ("--kimg", "0.024", "--metrics", "0", "--subset", "60", "--threads", "1", "--json")
MODELS = {
    "stylegan2": ("channel_base=128", "channel_max=8"),
    "styleformer": ("widths=16,16", "layers=1,1", "feed_forward=true"),
}


@pytest.mark.parametrize("model", MODELS)
def test_a_run_by_the_kernels_is_that_by_torch_to_rounding(
    model: str, sfbench: Command, tmp_path: Path
) -> None:
    weights, counted = {}, {}
    for kernels in ("torch", "native"):
        options = [f"--option={option}" for option in (*MODELS[model], f"kernels={kernels}")]
        asked = ("train", "--model", model, *SIZES, *options, *SHORT, "--out", kernels)
        done = sfbench(*asked)
        assert done.returncode == 0, done.stderr
        weights[kernels] = load_file(tmp_path / kernels / "weights.safetensors")
        last = json.loads(done.stdout.splitlines()[-1])
        counted[kernels] = last["teraflops"] * last["seconds_per_kimg"]
    assert any(
        not torch.equal(weights["torch"][name], weights["native"][name])
        for name in weights["torch"]
    )
    for name, expected in weights["torch"].items():
        assert torch.allclose(weights["native"][name], expected, rtol=1e-3, atol=1e-3), name
    # The small convolutions at half the size have as many operations either way.
    assert counted["native"] == pytest.approx(counted["torch"], rel=0.05)


def test_stylegan2_makes_the_same_images_and_refuses_to_be_compiled() -> None:
    (spec,) = sfbench_generators()

    def built(kernels: str) -> object:
        options = {option.name: option.default for option in spec.options}
        options |= {"channel_base": 4096, "channel_max": 128, "noise": "const", "kernels": kernels}
        return spec.build(BuildRequest(resolution=32, options=options))

    images = []
    for kernels in ("torch", "native"):
        generator = built(kernels)
        with torch.inference_mode():
            images.append(generator.synthesize(generator.draw_latents([0, 1])))
    assert (images[0] - images[1]).abs().max() < 5e-6 * images[0].abs().max()
    layers = [one for one in generator.module.modules() if isinstance(one, Convolving)]
    assert all(isinstance(one.convolutions, NativeConvolutions) for one in layers)
    with pytest.raises(UnsupportedError, match=r"torch\.compile cannot compile them"):
        generator.module.compile()
