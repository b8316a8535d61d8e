"""Numbers of options have bounds: what no model can be built with is refused before anything runs."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from reference_models.biggan import BigGAN
from reference_models.biggan_config import PRESETS
from sfbench.api import Option, UsageError

pytestmark = pytest.mark.fast
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize(
    ("option", "good", "bad", "words"),
    [
        (
            Option(name="n", kind="int", help="", least=1),
            "1",
            "0",
            "option n=0: expected 1 or more",
        ),
        (
            Option(name="n", kind="float", help="", above=0, most=2),
            "2",
            "0",
            "option n=0: expected a number above 0, at most 2",
        ),
        (
            Option(name="n", kind="ints", help="", least=1),
            "4,1",
            "4,0",
            "n=4,0: expected 1 or more",
        ),
    ],
    ids=["whole", "real", "several"],
)
def test_a_number_out_of_bounds_is_refused(option: Option, good: str, bad: str, words: str) -> None:
    option.parse(good)
    with pytest.raises(UsageError, match=words):
        option.parse(bad)


@pytest.mark.parametrize(
    ("model", "option", "words"),
    [
        ("biggan", "z_dim=-5", "z_dim=-5: expected 1 or more"),
        ("biggan", "z_dim=3", "z_dim 3: cut into 4 parts; expected one for each"),
        ("biggan", "c_dim=0", "c_dim=0: expected 1 or more"),
        ("biggan", "z_scale=0", "z_scale=0: expected a number above 0"),
        ("biggan", "standing_batches=0", "standing_batches=0: expected 1 or more"),
        ("biggan", "spectral_eps=-1", "spectral_eps=-1: expected a number above 0"),
        ("biggan", "channels=1", "channels 1: attention at 16 px needs 8, there are 4"),
        ("gansformer", "components=0", "components=0: expected 1 or more"),
        ("gansformer", "latent_dim=7", "latent_dim 7: expected a multiple of 4"),
        (
            "gansformer",
            "channel_base=7",
            "channel_base 7: no channels at 32 px; expected 32 or more",
        ),
        (
            "stylegan2",
            "channel_base=7",
            "channel_base 7: no channels at 32 px; expected 32 or more",
        ),
        ("stylegan2", "c_dim=-1", "c_dim=-1: expected 0 or more"),
        (
            "styleformer-c",
            "channel_base=7",
            "channel_base 7: no channels at 64 px; expected 64 or more",
        ),
        ("styleformer", "head_width=0", "head_width=0: expected 1 or more"),
    ],
)
def test_sizes_that_cannot_be_built_are_one_line(
    model: str, option: str, words: str, sfbench: Command
) -> None:
    sizes = (
        ("--res", "64") if model == "styleformer-c" else ("--res", "32", "--option", "preset=nano")
    )
    done = sfbench("sample", "--model", model, *sizes, "--option", option, "-o", "x.png")
    assert done.returncode in {1, 2}, done.stderr
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def weights(change: Callable[[dict[str, torch.Tensor]], object]) -> dict[str, torch.Tensor]:
    config = next(preset.config for preset in PRESETS if preset.name == "nano")
    network = BigGAN(config)
    network.reset_parameters(torch.Generator().manual_seed(0))
    state = dict(network.state_dict())
    change(state)
    return state


@pytest.mark.parametrize(
    ("model", "change", "words"),
    [
        (
            "biggan",
            lambda state: state["linear.weight"].fill_(float("nan")),
            "linear.weight holds NaN or infinite values",
        ),
        (
            "biggan",
            lambda state: state.update({"linear.bias": state["linear.bias"].long()}),
            "linear.bias holds torch.int64, the model's are torch.float32",
        ),
        ("biggan-deep", lambda _: None, "it holds biggan; measure it with --model biggan"),
    ],
    ids=["nan", "whole", "other"],
)
def test_weights_that_are_none_are_one_line(
    model: str,
    change: Callable[[dict[str, torch.Tensor]], object],
    words: str,
    sfbench: Command,
    tmp_path: Path,
) -> None:
    torch.save(weights(change), tmp_path / "G_ema.pth")
    done = sfbench(
        "sample", "--model", model, "--res", "32", "--weights", "G_ema.pth", "-o", "x.png"
    )
    assert done.returncode in {1, 2}, done.stderr
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
