"""The pages about kinds of models: what they make, and every command on them, word for word."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from graph_making import SHORT

Command = Callable[..., subprocess.CompletedProcess[str]]
DOCS = Path(__file__).parents[2] / "docs"
MORE = {
    "run": ("--samples", "16", *SHORT),
    "frontier": ("--samples", "16", "--budget", "9s", *SHORT),
    "certify": ("--samples", "32", "--quads", "0"),
}
"""Flags that make a command of the docs short; those that it has are replaced."""
ABSENT = {"weights.safetensors": "styleformer-nano-shapes"}
"""Files that the reader has, and what stands for them here."""
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*__array_.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*torch.jit.*"),
]


def shortened(line: str) -> list[str]:
    """Return the words of a command, with flags that make it short."""
    words = [ABSENT.get(word, word) for word in shlex.split(line)[1:]]
    more = MORE.get(words[0], ())
    for flag in more[::2]:
        if flag in words:
            place = words.index(flag)
            del words[place : place + 2]
    return [*words, *more]


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", ["onnx", "exported", "diffusers", "functions"])
def test_a_page_does_what_it_says(
    name: str, sfbench: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    text = (DOCS / f"{name}.md").read_text()
    for language, block in re.findall(r"```(python|sh)\n(.*?)```", text, re.DOTALL):
        if language == "python":
            exec(compile(block, name, "exec"), {"__name__": name})  # noqa: S102  # the page's own
            continue
        for line in block.splitlines():
            words = shortened(line)
            target = tmp_path / words[2] if words[0] == "convert" else None
            if target is not None:
                target.unlink(missing_ok=True)
            done = sfbench(*words)
            assert done.returncode in {0, 4, 6}, f"{line}\n{done.stderr}\n{done.stdout}"
            assert target is None or target.is_file()
