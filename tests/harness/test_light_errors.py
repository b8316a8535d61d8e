"""A request that cannot be meant is refused before anything heavy is imported for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]
HEAVY = ("torch", "pandas", "scipy", "numpy", "altair", "PIL")
COMMANDS = [
    ["run", "--model", "nobody"],
    ["run", "--model", "styleformer", "--res", "33", "--measure", "speed"],
    ["train", "--model", "nobody", "--data", "shapes", "--out", "x"],
    ["train", "--model", "styleformer", "--data", "nowhere", "--out", "x"],
    ["check", "nobody"],
    ["sample", "--model", "nobody", "-o", "x.png"],
    ["inspect", "--model", "nobody"],
    ["quality", "--images", "nowhere", "--reference", "nowhere"],
    ["quality", "--model", "nobody", "--reference", "shapes"],
    ["explain", "a.zip", "b.zip", "--protocols", "pytorch-fid", "sfbench"],
    ["compare", "--live", "nobody", "nobody"],
    ["compare", "a", "b", "--store", "nowhere"],
    ["scaling", "--model", "nobody"],
    ["plan", "--suite", "nobody"],
    ["reproduce", "nobody"],
    ["replay", "nowhere.json"],
    ["export", "x.zip", "--store", "nowhere"],
    ["import", "nowhere.zip"],
    ["site", "out", "--store", "nowhere"],
    ["report", "--store", "nowhere"],
    ["report", "--format", "nope"],
    ["data", "build", "nowhere", "--out", "x", "--res", "32"],
    ["data", "info", "nowhere"],
    ["data", "preview", "nowhere", "-o", "x.png"],
    ["data", "stats", "nowhere", "--out", "x.npz"],
    ["list", "nope"],
    ["list"],
    ["--help"],
]
PROGRAM = """
import contextlib, io, json, sys
from sfbench.cli.main import main
found = []
for command in json.loads(sys.argv[1]):
    before = set(sys.modules)
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(command)
        except SystemExit as stop:
            code = stop.code
    new = sorted(name for name in set(sys.modules) - before if "." not in name)
    found.append([command, code, err.getvalue(), new])
print(json.dumps(found))
"""


def test_no_command_imports_anything_heavy_for_an_error(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(COMMANDS)],
        cwd=tmp_path,
        env=os.environ | {"XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for command, code, error, new in json.loads(done.stdout):
        assert not set(new) & set(HEAVY), command
        if command not in (["list"], ["--help"]):
            assert code in {2, 5, 7}, (command, code, error)
            assert len(error.splitlines()) == 1, (command, error)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["quality", "--images", "images"], 2, "--reference is missing or empty"),
        (["run", "--model", "styleformer", "--data", ""], 2, "--data is missing or empty"),
        (["replay", "images"], 2, "images: Is a directory"),
        (["import", "images", "--store", "new"], 2, "a folder; expected a zip file"),
        (["convert", "images", "w.safetensors"], 2, "images: a folder; expected a file"),
        (["check", "nofile.py"], 2, "nofile.py: no such file"),
        (["check", "extractor.py"], 2, "offers no generator to check"),
    ],
)
def test_what_is_missing_or_of_another_kind_is_said_in_one_line(
    arguments: list[str], code: int, words: str, sfbench: Command, tmp_path: Path
) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "extractor.py").write_text(
        "from sfbench.api import ExtractorSpec, hookimpl\n"
        "@hookimpl\n"
        "def sfbench_extractors():\n"
        "    return [ExtractorSpec(name='e', summary='', build=print)]\n"
    )
    done = sfbench(*arguments)
    assert (done.returncode, done.stderr.count("\n")) == (code, 1), done.stderr
    assert words in done.stderr
    assert not (tmp_path / "new").exists()
