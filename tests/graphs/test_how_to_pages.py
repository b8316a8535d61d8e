"""The quickstart and the how-to pages: every command on them, word for word but for its length."""

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
PAGES = ("quickstart", "images", "cluster", "paper", "documents", "ci")
MORE = {
    "run": ("--samples", "16", *SHORT),
    "demo": ("--scale", "smoke"),
    "quality": ("--samples", "40"),
    "explain": ("--samples", "40"),
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
    assert lines
    for line in lines:
        done = sfbench(*shortened(line))
        assert done.returncode in {0, 1}, f"{line}\n{done.stderr}\n{done.stdout}"
        assert "Traceback" not in done.stderr


def test_what_is_tested_elsewhere_is_on_a_page() -> None:
    text = "".join((DOCS / f"{name}.md").read_text(encoding="utf-8") for name in PAGES)
    assert [part for part in ELSEWHERE if part not in text] == []
