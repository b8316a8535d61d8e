"""Paths and flags mean what people write."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sfbench.api.errors import UsageError
from sfbench.values.paths import pairs_of

Command = Callable[..., subprocess.CompletedProcess[str]]
NANO = (
    Path(__file__).parents[2]
    / "reference_models"
    / "weights"
    / "styleformer-nano-shapes.safetensors"
)
JUDGE = (
    "--res",
    "32",
    "--option",
    "preset=nano",
    "--measure",
    "quality",
    "--samples",
    "8",
    "--json",
)


@pytest.mark.fast
@given(
    values=st.dictionaries(
        st.sampled_from(["a", "ab", "stylegan2", "styleformer-c"]),
        st.text(alphabet="x=,/ ~.1", min_size=1).filter(lambda t: not t.endswith(",")),
        min_size=1,
    )
)
def test_pairs_come_apart_at_known_names_alone(values: dict[str, str]) -> None:
    names = ["a", "ab", "stylegan2", "styleformer-c"]
    if any(f",{name}=" in value for value in values.values() for name in names):
        return
    text = ",".join(f"{name}={value}" for name, value in values.items())
    assert pairs_of(text, names, "--weights") == values


@pytest.mark.fast
def test_one_value_is_no_pair_and_a_name_given_twice_is_refused(tmp_path: Path) -> None:
    assert pairs_of("runs/lr=0.1,b=8", ["styleformer"], "--weights") is None
    assert pairs_of("auto", [], "--weights") is None
    there = tmp_path / "styleformer=x"
    there.touch()
    assert pairs_of(str(there), [str(tmp_path / "styleformer")], "--weights") is None
    with pytest.raises(UsageError, match="a is given twice"):
        pairs_of("a=x,a=y", ["a"], "--weights")


def test_weights_lie_where_they_lie(sfbench: Command, tmp_path: Path) -> None:
    run = tmp_path / "runs" / "lr=0.01,batch=8"
    run.mkdir(parents=True)
    shutil.copy(NANO, run / "best.safetensors")
    home = {"HOME": str(tmp_path)}
    keys = set()
    for text in (
        "runs/lr=0.01,batch=8",
        "styleformer=runs/lr=0.01,batch=8",
        "styleformer=runs/lr=0.01,batch=8/best.safetensors",
        "~/runs/lr=0.01,batch=8",
        "styleformer=~/runs/lr=0.01,batch=8",
    ):
        done = sfbench("run", "--model", "styleformer", "--weights", text, *JUDGE, **home)
        assert done.returncode == 0, done.stderr
        (record,) = json.loads(done.stdout)
        assert record["case"]["weights"]["kind"] == "file"
        keys.add(record["case_key"])
    assert len(keys) == 1
    wrong = sfbench("run", "--model", "styleformer", "--weights", "nobody=x.pt", *JUDGE)
    assert "no such file, and model nobody is not among --model" in wrong.stderr


def test_a_tilde_after_an_equals_sign_is_the_home(sfbench: Command, tmp_path: Path) -> None:
    images = tmp_path / "mine"
    images.mkdir()
    for index in range(8):
        Image.fromarray(np.full((16, 16, 3), 20 * index, np.uint8)).save(images / f"{index}.png")
    run = ("run", "--model", "image-folder", "--option", "path=~/mine", "--res", "16")
    done = sfbench(*run, "--samples", "8", "--store=~/kept", "--json", HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "kept" / "runs").glob("*.json"))


@pytest.mark.fast
def test_a_flag_of_one_value_is_given_once(sfbench: Command) -> None:
    for words in (
        ("run", "--model", "styleformer", "--model", "stylegan2"),
        ("run", "--model=styleformer", "--model", "stylegan2"),
        ("train", "--model", "styleformer", "--out", "a", "--out", "b"),
        ("report", "--format", "csv", "--format=json"),
    ):
        done = sfbench(*words)
        assert done.returncode == 2
        assert "given 2 times; expected once" in done.stderr
    repeated = sfbench("list", "--no-plugin", "timm", "--no-plugin", "mlflow", "--json")
    assert repeated.returncode == 0


@pytest.mark.fast
def test_a_built_in_name_that_is_also_a_folder_is_told(sfbench: Command, tmp_path: Path) -> None:
    (tmp_path / "shapes").mkdir()
    (tmp_path / "random").mkdir()
    done = sfbench("run", "--model", "nobody", "--data", "shapes", "--weights", "random")
    assert "note: --data shapes means the built-in images" in done.stderr
    assert "give ./shapes" in done.stderr
    assert "note: --weights random means random weights" in done.stderr
    quiet = sfbench("run", "--model", "nobody", "--data", "./shapes", "--weights", "./random")
    assert "note:" not in quiet.stderr


@pytest.mark.fast
def test_the_flag_that_is_wrong_is_the_one_that_is_named(sfbench: Command) -> None:
    train = ("train", "--model", "styleformer", "--preset", "nano", "--out", "x")
    for value in ("1", "-3"):
        done = sfbench(*train, "--metrics", value)
        assert done.returncode == 2
        assert f"--metrics {value}: expected 0 (off) or 2 or more" in done.stderr
