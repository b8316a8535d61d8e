"""What goes wrong outside costs a line and nothing else."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import worlds
from PIL import Image
from test_train_command import ASKED

from sfbench.train.state import load_state

Command = Callable[..., subprocess.CompletedProcess[str]]
RUN = (*ASKED, "--kimg", "0.064", "--threads", "1", "--snapshot-kimg", "1")


def errors(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in done.stderr.splitlines() if line.startswith("error")]


def folder_of(path: Path, count: int) -> Path:
    path.mkdir()
    for number in range(count):
        Image.fromarray(np.full((16, 16, 3), number, np.uint8)).save(path / f"{number}.png")
    return path


@pytest.mark.parametrize(("count", "words"), [(0, "none of them an image"), (1, "1 image;")])
def test_too_few_images_are_refused(
    count: int, words: str, sfbench: Command, tmp_path: Path
) -> None:
    data = folder_of(tmp_path / "few", count)
    done = sfbench(*RUN, "--data", str(data), "--out", "run")
    (line,) = errors(done)
    assert done.returncode == 2
    assert words in line


def test_a_prepared_folder_of_another_size_or_without_classes_is_refused(
    sfbench: Command, tmp_path: Path
) -> None:
    worlds.images(tmp_path / "prepared", 8, 4)
    done = sfbench(*RUN, "--data", "prepared", "--out", "run")
    assert "expected 16 px, found images of 8 px" in errors(done)[0]
    data = folder_of(tmp_path / "plain", 8)
    done = sfbench(*RUN, "--data", str(data), "--out", "run", "--option", "c_dim=5")
    assert "the images have no labels" in errors(done)[0]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--mode", "compile"), "they train in eager mode and fp32; found --mode compile"),
        (("--dtype", "bf16"), "they train in eager mode and fp32; found --dtype bfloat16"),
        (("--set", "d_channel_max=64"), "no 3x3 convolution has the 128 channels"),
    ],
)
def test_kernels_are_refused_where_they_cannot_train(
    more: tuple[str, str], words: str, sfbench: Command
) -> None:
    asked = ("train", "--model", "styleformer", "--res", "8", "--kimg", "0.004", "--batch", "4")
    sizes = ("--option", "widths=16", "--option", "layers=1", "--option", "kernels=native")
    done = sfbench(*asked, *sizes, *more, "--out", "run")
    assert done.returncode == 2
    (line,) = errors(done)
    assert f"option kernels=native: {words}" in line


def test_a_folder_that_cannot_be_written_is_refused(sfbench: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    done = sfbench(*RUN, "--out", "file/run")
    assert done.returncode == 2
    assert "cannot be written" in errors(done)[0]


def test_a_full_disk_costs_a_line_and_no_step(sfbench: Command, tmp_path: Path) -> None:
    """Files may not grow beyond a limit, as if the disk were full; then they may again."""
    assert sfbench(*RUN, "--out", "whole").returncode == 0
    half = tuple("0.032" if value == "0.064" else value for value in RUN)
    assert sfbench(*half, "--out", "cut").returncode == 0
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        done = sfbench(*RUN, "--out", "cut", "--resume")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert done.returncode == 2
    (line,) = errors(done)
    assert "cannot be written" in line
    assert "Traceback" not in done.stderr
    assert sfbench(*RUN, "--out", "cut", "--resume").returncode == 0
    whole, cut = (load_state(tmp_path / name) for name in ("whole", "cut"))
    assert whole is not None
    assert cut is not None
    assert worlds.same(whole.tree["learner"], cut.tree["learner"])


def test_parts_of_a_batch_give_the_run_of_the_whole(sfbench: Command, tmp_path: Path) -> None:
    for out, parts in (("one", "1"), ("two", "2")):
        done = sfbench(*RUN, "--out", out, "--accumulate", parts)
        assert done.returncode == 0, done.stderr
    one, two = (load_state(tmp_path / name) for name in ("one", "two"))
    assert one is not None
    assert two is not None
    for part in ("generator", "discriminator"):
        for name, tensor in one.tree["learner"][part].items():
            other = two.tree["learner"][part][name]
            assert (tensor - other).abs().max() <= 1e-3 * tensor.abs().max().clamp_min(1e-3), name
