"""`sfbench inspect`, and the row of samples that a run keeps."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from PIL import Image

Command = Callable[..., subprocess.CompletedProcess[str]]
PLUGIN = """
from sfbench.api import BuildRequest, GeneratorSpec, ModuleGenerator, hookimpl


def build(request: BuildRequest):
    from torch import nn

    side = request.resolution
    module = nn.Sequential(nn.Linear(4, 3 * side * side), nn.Unflatten(1, (3, side, side)), nn.Tanh())
    return ModuleGenerator(module, request, latent_shape=(4,))


@hookimpl
def sfbench_generators():
    return [GeneratorSpec(name="plain", summary="plain", resolutions=(16,), build=build)]
"""


def test_every_picture_of_a_styleformer_is_drawn(sfbench: Command, tmp_path: Path) -> None:
    asked = (
        "--model",
        "styleformer",
        "--option",
        "preset=nano",
        "--data",
        "shapes",
        "--samples",
        "40",
    )
    done = sfbench("inspect", *asked, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    none = {kind for kind, one in found.items() if one["file"] is None}
    assert none == {"linformer-tokens", "components"}
    for kind, one in found.items():
        if kind not in none:
            with Image.open(tmp_path / one["file"]) as picture:
                assert picture.format == "PNG"
                assert picture.convert("L").getextrema() != (255, 255)
    about = json.loads((tmp_path / found["samples"]["file"]).with_name("about.json").read_text())
    how = about["pictures"]["mixing"]["how"]
    assert how["seeds"] == list(range(8))
    assert len(how["code"]) == 64
    assert "coarse: 8 px, w 0; middle: 16 px" in about["pictures"]["mixing"]["caption"]


def test_a_generator_without_styles_has_samples_and_reasons(
    sfbench: Command, tmp_path: Path
) -> None:
    (tmp_path / "plain.py").write_text(PLUGIN)
    done = sfbench("inspect", "--model", "plain", "--res", "16", "--plugin", "plain.py")
    assert done.returncode == 0, done.stderr
    lines = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert lines["samples"].endswith("samples.png")
    assert "no style vectors" in lines["mixing"]
    assert "exposes no attention" in lines["attention"]
    assert "--data" in lines["neighbors"]


def test_what_cannot_be_drawn_is_said_in_one_line(sfbench: Command) -> None:
    for flags, words in (
        (("--seeds", "1"), "expected 2 to 64 seeds"),
        (("--seeds", "x"), "expected whole numbers"),
        (("--res", "33"), "33"),
    ):
        done = sfbench("inspect", "--model", "stylegan2", *flags)
        assert done.returncode == 2
        assert words in done.stderr
        assert "Traceback" not in done.stderr


def test_a_run_keeps_samples_and_the_page_shows_them(sfbench: Command, tmp_path: Path) -> None:
    asked = ("--model", "stylegan2", "--option", "preset=nano", "--measure", "quality")
    done = sfbench("run", *asked, "--samples", "16", "--store", "s")
    assert done.returncode == 0, done.stderr
    (picture,) = (tmp_path / "s" / "pictures").glob("*/samples.png")
    with Image.open(picture) as opened:
        assert opened.size == (8 * 34 - 2, 32)
    assert sfbench("report", "--html", "r.html", "--store", "s").returncode == 0
    text = (tmp_path / "r.html").read_text()
    assert text.count('src="data:image/webp;base64,') == 1
    assert re.search(r"stylegan2 nano, 32 px, weights [0-9a-f]{8}: ", text)
