"""Images that are not square or have one channel: named, drawn, cropped, judged and reported."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from making import a_case, a_stored_case
from PIL import Image

from sfbench.api.errors import UsageError
from sfbench.data.shapes import ShapesDataset
from sfbench.data.sources import locate, open_dataset
from sfbench.values.case import request_of
from sfbench.values.sizes import Size, parse_resolutions, parse_sizes, size_of, square

Command = Callable[..., subprocess.CompletedProcess[str]]
PLUGIN = """
import torch
from torch import nn
from sfbench.api import GeneratorSpec, ModuleGenerator, hookimpl

class Net(nn.Module):
    def __init__(self, channels, height, width):
        super().__init__()
        self.shape = channels, height, width
        self.a = nn.Linear(8, channels * height * width)
    def forward(self, z):
        return torch.tanh(self.a(z)).view(-1, *self.shape)

def gray(request):
    net = Net(1, request.resolution, request.width or request.resolution)
    return ModuleGenerator(net, request, latent_shape=(8,))

def stubborn(request):
    return ModuleGenerator(Net(3, 16, 16), request, latent_shape=(8,))

@hookimpl
def sfbench_generators():
    return [GeneratorSpec(name=f.__name__, summary="", resolutions=(), build=f) for f in (gray, stubborn)]
"""


@pytest.mark.fast
@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("48x64", [(48, 64)]),
        ("32,48x64,32", [(32, 32), (48, 64)]),
        ("16x16", [(16, 16)]),
        ("8:32,8x16", [(8, 8), (16, 16), (32, 32), (8, 16)]),
    ],
)
def test_sizes_are_squares_or_height_by_width(text: str, sizes: list[tuple[int, int]]) -> None:
    assert list(parse_sizes(text)) == sizes


@pytest.mark.fast
@pytest.mark.parametrize("text", ["48x", "x48", "4x4x4", "0x8", "48X64", "8x9999999"])
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"^resolution [^\n]+$"):
        parse_sizes(text)


@pytest.mark.fast
def test_where_squares_are_needed_others_are_refused() -> None:
    with pytest.raises(UsageError, match="resolution 48x64: expected squares"):
        parse_resolutions("32,48x64")


@pytest.mark.fast
def test_a_square_case_is_what_it_was_and_another_says_its_width() -> None:
    plain, wide = a_case(), a_case(resolution=48, width=64)
    assert "width" not in plain.inputs()
    assert wide.inputs()["width"] == 64
    assert wide.size == (48, 64)
    assert "48x64px" in wide.title()
    assert size_of({"resolution": 48, "width": float("nan")}) == square(48)
    command = request_of(a_stored_case(resolution=48, width=64), {}).command()
    assert "--res 48x64" in command


@pytest.mark.fast
def test_images_are_cropped_to_their_proportions_and_resized(tmp_path: Path) -> None:
    pixels = np.zeros((40, 100, 3), np.uint8)
    pixels[:, 30:70] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    dataset = open_dataset(locate(str(tmp_path)), Size(20, 40))
    image = dataset.read(0).pixels
    assert image.shape == (3, 20, 40)
    assert dataset.identity["width"] == 40
    # Of 100 columns the middle 80 are kept: the white band is half of them.
    assert image.float().mean() == pytest.approx(127.5, abs=4)
    assert "width" not in open_dataset(locate(str(tmp_path)), square(20)).identity


@pytest.mark.fast
def test_shapes_fill_any_size_and_squares_are_as_ever() -> None:
    wide = ShapesDataset(Size(16, 48)).read(3).pixels
    assert wide.shape == (3, 16, 48)
    assert torch.equal(wide[:, :, 16:32], ShapesDataset(square(16)).read(3).pixels)


def test_gray_and_oblong_images_are_measured(sfbench: Command, tmp_path: Path) -> None:
    (tmp_path / "odd.py").write_text(PLUGIN)
    done = sfbench(
        "run", "--plugin", "odd.py", "--model", "gray", "--res", "16,16x24", "--measure", "quality",
        "--samples", "20", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    cases = [record["case"] for record in json.loads(done.stdout)]
    assert sorted((c["resolution"], c.get("width")) for c in cases if c.get("width")) == [(16, 24)]
    shown = sfbench("report")
    assert "16x24" in shown.stdout
    only = sfbench("report", "--res", "16x24", "--format", "json")
    assert [row["width"] for row in json.loads(only.stdout)] == [24]
    page = sfbench("report", "--html", "r.html")
    assert page.returncode == 0, page.stderr
    assert "16x24" in (tmp_path / "r.html").read_text()
    drawn = sfbench(
        "sample", "--plugin", "odd.py", "--model", "gray", "--res", "16x24", "-o", "g.png"
    )
    assert drawn.returncode == 0, drawn.stderr


def test_a_model_that_ignores_the_width_is_told(sfbench: Command, tmp_path: Path) -> None:
    (tmp_path / "odd.py").write_text(PLUGIN)
    asked = (
        "run",
        "--plugin",
        "odd.py",
        "--res",
        "16x24",
        "--measure",
        "quality",
        "--samples",
        "20",
    )
    done = sfbench(*asked, "--model", "stubborn", "--json")
    (record,) = json.loads(done.stdout)
    assert "expected (3, 1 or 3, 16, 24)" in record["reason"]
    built_in = sfbench(*asked, "--model", "styleformer")
    assert built_in.returncode == 2
    assert "does not support 16x24 px" in built_in.stderr
