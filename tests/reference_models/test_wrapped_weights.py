"""Weights as trainers save them load, or are refused by a line that says what to do."""

from __future__ import annotations

import gzip
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from test_checkpoints import CONFIGS, made
from torch import nn

from reference_models import checkpoints

pytestmark = pytest.mark.fast
State = dict[str, torch.Tensor]


def prefixed(prefix: str) -> Callable[[State], State]:
    return lambda state: {prefix + name: tensor for name, tensor in state.items()}


WRAPPED: list[tuple[Callable[[State], Any], str]] = [
    (dict, ""),
    (prefixed("module."), "prefix 'module.' taken off"),
    (prefixed("_orig_mod.module."), "prefix 'module.' taken off"),
    (prefixed("ema_model."), "prefix 'ema_model.' taken off"),
    (lambda state: {"state_dict": state}, "taken from 'state_dict'"),
    (
        lambda state: {"g": {n: t + 1 for n, t in state.items()}, "g_ema": state, "iteration": 3},
        "taken from 'g_ema' (beside g, iteration)",
    ),
    (
        lambda state: {"model": prefixed("module.")(state), "epoch": 3},
        "taken from 'model' (beside epoch)",
    ),
    (lambda state: {"checkpoint": 1, "state_dict": {"generator": state}}, "taken from 'generator'"),
    (lambda state: state | {"epoch": 3}, "left out, no tensors: epoch"),
    (lambda state: {n: nn.Parameter(t) for n, t in state.items()}, ""),
]


@pytest.mark.parametrize(("wrap", "note"), WRAPPED)
@pytest.mark.parametrize("zipped", [True, False])
def test_wrapped_state_dicts_load_and_say_what_was_taken_off(
    wrap: Callable[[State], Any], note: str, zipped: bool, tmp_path: Path
) -> None:
    model, config = made("styleformer")
    path = tmp_path / "w.pt"
    torch.save(wrap(dict(model.state_dict())), path, _use_new_zipfile_serialization=zipped)
    again, _ = checkpoints.load_generator(config, path, 1)
    assert all(torch.equal(again.state_dict()[n], t) for n, t in model.state_dict().items())
    assert (note in again.weights_read) if note else again.weights_read == ()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_converted_and_told(dtype: torch.dtype, tmp_path: Path) -> None:
    model, config = made("styleformer")
    state = {name: tensor.to(dtype) for name, tensor in model.state_dict().items()}
    for name, save in (("w.pt", torch.save), ("w.safetensors", safetensors.torch.save_file)):
        save(state, tmp_path / name)
        again, _ = checkpoints.load_generator(config, tmp_path / name, 1)
        kind = str(dtype).removeprefix("torch.")
        assert again.weights_read == (f"converted from {kind} to float32",)
        assert next(again.parameters()).dtype == torch.float32


class Whole(nn.Module):
    pass


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty"),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "a Git LFS pointer and not the file; fetch it",
        ),
        (b"<!DOCTYPE html><html>", "it is a web page"),
        (gzip.compress(b"x" * 100, mtime=0), "compressed with gzip; unpack it first"),
        (b"\x08\x07\x12\x07pytorch" * 9, "unknown or damaged; expected a .safetensors file"),
        (pickle.dumps({"w": np.zeros(3)}), "expected a dictionary with a network G_ema|holds w"),
    ],
)
def test_what_is_no_weights_is_named(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=words) as caught:
        checkpoints.read_checkpoint(path)
    assert "\n" not in str(caught.value)


def test_a_whole_module_a_list_and_another_model_are_refused_with_advice(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    torch.save(Whole(), path)
    with pytest.raises(
        ValueError, match=r"expected tensors alone: save the generator.s state_dict\(\)"
    ):
        checkpoints.read_checkpoint(path)
    torch.save([torch.zeros(2)], path)
    with pytest.raises(ValueError, match="it holds a list; expected a state dict"):
        checkpoints.read_checkpoint(path)
    torch.save({"epoch": 3, "lr": 0.1}, path)
    with pytest.raises(ValueError, match=r"not a state dict .*: it holds epoch, lr"):
        checkpoints.read_checkpoint(path)
    torch.save({"conv.weight": torch.zeros(2), "conv.bias": torch.zeros(2)}, path)
    with pytest.raises(
        ValueError, match=r"it holds conv.weight, conv.bias, ...; expected synthesis"
    ):
        checkpoints.load_generator(CONFIGS["styleformer"][1], path, 0)
