"""The commands of README, quickstart, how-to pages and reference, word for word but for their length."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from graph_making import SHORT
from making_images import images

Command = Callable[..., subprocess.CompletedProcess[str]]
DOCS = Path(__file__).parents[2] / "docs"
PAGES = (
    "../README",
    "quickstart",
    "images",
    "generators",
    "cluster",
    "paper",
    "documents",
    "ci",
    "cli",
    "quality",
    "results",
)
MORE = {
    "run": ("--res", "32", "--option", "preset=nano", "--samples", "16", "--trials", "1", *SHORT),
    "demo": ("--scale", "smoke"),
    "quality": ("--samples", "40"),
    "explain": ("--samples", "40"),
    "scaling": ("--res", "8,16,32", "--model", "synthetic"),
    "plan": ("--scale", "smoke"),
    "sample": ("--res", "32", "--seeds", "0-1"),
    "check": ("--res", "32"),
    "inspect": ("--samples", "40"),
    "train": ("--kimg", "0.1", "--subset", "64", "--metrics", "0"),
    "work": ("--limit", "1"),
}
"""Flags that make a command of the docs short; those that it has are replaced."""
ELSEWHERE = {
    "--extractor-weights download": "needs the network",
    "--protocol all": "its protocols of Inception are tested with weights made for it",
    "explain made.zip": "needs Inception weights; tests/harness/test_explain.py has some",
    "data stats real.zip": "the same",
    "report --serve": "runs until Ctrl-C: tests/harness/test_serving.py",
    "compare --live": "takes minutes: tests/harness/test_live_comparison.py",
    "reproduce styleformer-paper": "measures for hours: tests/harness/test_suites.py has a short one",
    "export paper.zip": "exports what that measured",
    "--res 256 --data real.zip": "reads images that the reader made",
    "make ": "what CI and the demo of the quickstart run",
    "--res 256  ": "minutes: the suite demo measures it",
    "onnx:": "tests/graphs/test_model_pages.py",
    "diffusers:": "the same",
    "cuda:": "tests/cluster, on devices that look like GPUs",
    "--on slurm": "tests/cluster",
    "status S": "the same",
    "report --store S": "the same",
    "max-fit": "tests/harness/test_search.py",
    "--mode compile-max-autotune": "tests/compiled",
    "--train-kimg": "tests/train",
    "--sequential": "tests/harness/test_differences.py has a short one",
    "reconstruct": "tests/harness/test_reconstruction.py, with pairs of one name",
    "panel made.zip": "tests/harness/test_offline_panel.py: reads images that the reader made",
    "diversity": "needs VGG16: tests/harness/test_diversity.py has some",
    "path-length": "needs VGG16: tests/harness/test_path_length.py has some",
    "lottery": "trains ten models: tests/report/test_variance.py trains two",
    "doctor --aa": "minutes: tests/harness/test_live_comparison.py",
    "replay record.json": "tests/harness/test_pairing_and_replay.py, and test_receipts.py",
    "compare baseline/": "tests/harness/test_comparison.py",
    "export speed.zip": "exports what a suite of hours measured; tests/harness/test_sharing.py",
    "export mlflow": "nox -s mlflow",
    "data build cifar": "tests/harness/test_data.py",
    "data info": "the same",
    "data preview": "the same",
    "snapshot.pkl": "tests/reference_models",
    "G_ema.pth": "tests/harness/test_biggan_plugin.py",
    "--suite attention": "minutes: six models at three resolutions",
    "--training": "tests/report",
    "--weights run": "tests/train",
    "suite.toml": "tests/harness/test_suites.py",
    "--install-completion": "tests/harness/test_completion.py",
    "--suite smoke --scale quick": "minutes: the quickstart runs a suite",
    "--max-seconds": "the page of clusters has a shorter plan",
}
"""What is not run here, by a part of the command, and where it is."""


def commands(name: str) -> list[str]:
    """Return the commands of a page, without what is tested elsewhere."""
    text = (DOCS / f"{name}.md").read_text(encoding="utf-8")
    lines = [
        line.partition("#")[0].strip()
        for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
        for line in block.splitlines()
    ]
    return [line for line in lines if line and not any(part in line for part in ELSEWHERE)]


def shortened(line: str) -> list[str]:
    """Return the words of a command, with flags that make it short."""
    words = ["synthetic" if word == "mymodel" else word for word in shlex.split(line)[1:]]
    more = MORE.get(words[0], ())
    if "synthetic" in words:  # it has no presets
        more = tuple(word for word in more if word not in {"--option", "preset=nano"})
    for flag in more[::2]:
        if flag in words:
            del words[words.index(flag) : words.index(flag) + 2]
    return [*words, *more]


@pytest.mark.parametrize("name", PAGES)
def test_the_commands_of_a_page_run(name: str, sfbench: Command, tmp_path: Path) -> None:
    images(tmp_path / "made.zip", 0)
    images(tmp_path / "real.zip", 1)
    if name == "ci":
        base = ("run", "--model", "synthetic", "--res", "32", "--measure", "quality")
        made = sfbench(*base, "--data", "real.zip", "--store", "base", "--samples", "16")
        assert made.returncode == 0, made.stderr
    lines = commands(name)
    if name == "cli":
        lines = [line for line in lines if line not in commands("quickstart")]
    assert lines
    for line in lines:
        done = sfbench(*shortened(line))
        assert done.returncode in {0, 1}, f"{line}\n{done.stderr}\n{done.stdout}"
        assert "Traceback" not in done.stderr


def test_what_is_tested_elsewhere_is_on_a_page() -> None:
    text = "".join((DOCS / f"{name}.md").read_text(encoding="utf-8") for name in PAGES)
    assert [part for part in ELSEWHERE if part not in text] == []
