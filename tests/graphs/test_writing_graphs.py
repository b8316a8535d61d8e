"""`sfbench convert WEIGHTS OUT.onnx` and OUT.pt2: parity, any batch size, and what is refused."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from graph_making import Tiny, built, images_of

from sfbench.api.errors import ContractError
from sfbench.generators.parity import check_parity

Command = Callable[..., subprocess.CompletedProcess[str]]
WORDS = ("any batch size", "8 images differ by at most")


@pytest.mark.parametrize(
    ("weights", "model"),
    [
        ("styleformer-nano-shapes", "styleformer"),
        ("stylegan2-nano-shapes", "stylegan2"),
        ("biggan-nano-shapes", "biggan"),
    ],
)
@pytest.mark.parametrize("suffix", ["onnx", "pt2"])
def test_a_graph_makes_the_images_of_its_model(
    weights: str, model: str, suffix: str, sfbench: Command
) -> None:
    done = sfbench("convert", weights, f"g.{suffix}")
    assert done.returncode == 0, done.stderr
    assert f"{model} at 32 px" in done.stdout
    assert all(word in done.stdout for word in WORDS)
    assert float(done.stdout.partition("at most ")[2].split()[0]) < 1e-4
    kind = {"onnx": "onnx", "pt2": "exported"}[suffix]
    asked = ("--res", "32", "--measure", "quality", "--samples", "16", "--json")
    ran = sfbench("run", "--model", f"{kind}:g.{suffix},{model}", "--option", "preset=nano", *asked)
    assert ran.returncode == 0, ran.stderr
    values = {
        record["case"]["model"]: reading["value"]
        for record in json.loads(ran.stdout)
        for reading in record["readings"]
        if reading["metric"] == "fd[cifar-cnn7]"
    }
    assert values[f"{kind}:g.{suffix}"] == pytest.approx(values[model], rel=1e-3)


def test_a_graph_whose_values_are_not_those_of_images_is_written_with_its_range(
    sfbench: Command,
) -> None:
    sizes = ("--res", "32", "--option", "preset=nano")  # random weights make values up to 30
    for suffix in ("pt2", "onnx"):
        done = sfbench("convert", "random", f"g.{suffix}", "--model", "gansformer", *sizes)
        assert done.returncode == 0, done.stderr
        assert "--option range=signed" in done.stdout


def test_classes_and_random_weights_are_written_too(sfbench: Command, tmp_path: Path) -> None:
    asked = ("--model", "styleformer-linformer", "--res", "16", "--option", "c_dim=3")
    sizes = ("--option", "widths=32,16", "--option", "layers=1,1")
    done = sfbench("convert", "random", "g.pt2", *asked, *sizes)
    assert done.returncode == 0, done.stderr
    import sfbench_exported

    made = built(sfbench_exported.sfbench_generators()[0], file=str(tmp_path / "g.pt2"))
    assert made.classes == 3
    assert made.architecture["inputs"]["labels"] == "c float32[?, 3]"
    assert len(made.roles.noise) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nosuch", "g.onnx"), "no such file; expected weights, a training run, random, or one of"),
        (("random", "g.onnx"), "does not say what model it is of; give --model NAME and --res"),
        (("random", "g.tflite"), "expected a file name that ends in .safetensors, .onnx, .pt2"),
        (("random", "there.onnx"), "already exists"),
        (("random", "no/g.onnx"), "does not exist"),
        (("styleformer-nano-shapes", "g.safetensors", "--option", "a=b"), "--option is for graphs"),
        (("random", "g.pt2", "--model", "image-folder:pics", "--res", "8"), "only a torch module"),
    ],
)
def test_what_cannot_be_written_is_one_line(
    arguments: tuple[str, ...], words: str, sfbench: Command, tmp_path: Path
) -> None:
    from PIL import Image

    (tmp_path / "there.onnx").touch()
    (tmp_path / "pics").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "pics" / "a.png")
    done = sfbench("convert", *arguments)
    assert done.returncode in {1, 2, 3}
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "g.pt2").exists()


@pytest.mark.fast
def test_parity_fails_beyond_its_tolerance_or_for_another_batch() -> None:
    from sfbench.api import BuildRequest, ModuleGenerator

    request = BuildRequest(resolution=16)
    plain = ModuleGenerator(Tiny(), request, latent_shape=(12,))
    other = Tiny()
    with torch.no_grad():
        other.layer.bias += 1e-3
    moved = ModuleGenerator(other, request, latent_shape=(12,))
    assert check_parity(plain, plain).difference == 0
    with pytest.raises(ContractError, match="differ from the model's by"):
        check_parity(moved, plain)

    def only_one(z: torch.Tensor) -> torch.Tensor:
        if len(z) > 1:
            msg = "one at a time"
            raise RuntimeError(msg)
        return Tiny()(z)

    fixed = ModuleGenerator(Tiny(), request, latent_shape=(12,), forward=only_one)
    with pytest.raises(ContractError, match="does not run with a batch of 2: one at a time"):
        check_parity(fixed, plain)
    assert images_of(plain, range(1)).shape == (1, 3, 16, 16)
