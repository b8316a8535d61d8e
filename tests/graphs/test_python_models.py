"""Functions and hub folders as models: what they may return, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from graph_making import SIDE, WIDTH, built, images_of

from sfbench.api.errors import ContractError, UnsupportedError, UsageError, WeightsError
from sfbench.catalogue.named_code import code_digest, located
from sfbench_python import sfbench_generators

HUB, MODULE = sfbench_generators()
pytestmark = pytest.mark.fast
CODE = """
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from huggingface_hub import PyTorchModelHubMixin


class Net(nn.Module, PyTorchModelHubMixin):
    def __init__(self, z_dim: int = 12):
        super().__init__()
        self.z_dim = z_dim
        self.layer = nn.Linear(z_dim, 3 * 16 * 16)

    def forward(self, z):
        return torch.tanh(self.layer(z)).view(-1, 3, 16, 16)


class Stranger(nn.Module):
    pass


def make():
    return Net()


def pixels(seed):
    return np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)


def pil(seeds):
    return [Image.fromarray(pixels(seed)) for seed in seeds]


def gray(seeds):
    return [Image.fromarray(pixels(seed)[..., 0]) for seed in seeds]


def unit(seeds):
    return torch.stack([torch.from_numpy(pixels(s)).permute(2, 0, 1) / 255 for s in seeds])


def wide(seeds, resolution):
    return np.stack([np.random.default_rng(s).random((resolution, 24, 3), np.float32) for s in seeds])


def palette(seeds):
    return [Image.fromarray(pixels(seed)).convert("P") for seed in seeds]


def bits(seeds):
    return [Image.fromarray(pixels(seed)).convert("1") for seed in seeds]


def wholes(seeds):
    return torch.stack([torch.from_numpy(pixels(s)).permute(2, 0, 1).int() for s in seeds])


def from_file(file):
    net = Net()
    net.scale = float(Path(file).read_text())
    return net


def greedy(a, b):
    return None


def nothing():
    return None


def words(seeds):
    return "images"


NUMBER = 3
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    name = f"nets_{abs(hash(request.node.name))}"
    (tmp_path / f"{name}.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path / f"{name}.py"


@pytest.mark.parametrize(
    ("function", "returned", "value_range", "channels"),
    [
        ("pil", "list of Image", "0..255", 3),
        ("gray", "list of Image", "0..255", 1),
        ("palette", "list of Image", "0..255", 3),
        ("bits", "list of Image", "0..255", 3),
        ("unit", "tensor", "[0, 1]", 3),
    ],
)
def test_a_function_of_seeds_makes_images_and_the_adapter_says_what_it_converted(
    function: str, returned: str, value_range: str, channels: int, folder: Path
) -> None:
    made = built(MODULE, function=f"{folder.stem}:{function}")
    about = made.architecture
    assert about["returned"] == returned
    assert about["output"]["range"] == value_range
    images = images_of(made, range(3))
    assert images.shape == (3, channels, SIDE, SIDE)
    assert images.min() < -0.9
    assert images.max() <= 1
    assert torch.equal(images_of(made, range(1, 2))[0], images[1])


def test_a_function_may_take_the_resolution_and_images_need_not_be_square(folder: Path) -> None:
    made = built(MODULE, 8, width=24, function=f"{folder.stem}:wide")
    assert images_of(made, range(2)).shape == (2, 3, 8, 24)


def test_a_function_may_return_a_module(folder: Path) -> None:
    made = built(MODULE, function=f"{folder.stem}:make")
    assert made.architecture["inputs"]["latent"] == "z float32[?, ?]"
    assert made.source.latent_shape == (WIDTH,)
    assert made.module is not None
    assert images_of(made, range(2)).shape == (2, 3, SIDE, SIDE)


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("greedy", UsageError, "needs a; expected parameters among seeds"),
        ("nothing", UsageError, "returned a NoneType"),
        ("words", UnsupportedError, "returned a str"),
        ("NUMBER", UsageError, "not a function"),
        ("missing", UsageError, "cannot be imported"),
        ("wholes", ContractError, "expected floating-point images, or uint8"),
        ("from_file", UsageError, "needs file"),
        ("pil", ContractError, "second or last"),
    ],
)
def test_other_functions_are_refused(
    name: str, error: type[Exception], words: str, folder: Path
) -> None:
    options = {"layout": "NCHW"} if name == "pil" else {}
    with pytest.raises(error, match=words):
        built(MODULE, function=f"{folder.stem}:{name}", **options)


def test_a_module_that_another_hides_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("def make(): ...\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="hidden by"):
        built(MODULE, function="json:make")


def test_code_is_digested_with_what_it_imports_and_without_running_it(tmp_path: Path) -> None:
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "__init__.py").write_text("raise SystemExit\n")
    (tmp_path / "pack" / "a.py").write_text("from pack import b\ndef make(): return b\n")
    (tmp_path / "pack" / "b.py").write_text("x = 1\n")
    first = code_digest("pack.a:make", tmp_path)
    assert code_digest("pack.a:make", tmp_path) == first
    (tmp_path / "pack" / "b.py").write_text("x = 2\n")
    assert code_digest("pack.a:make", tmp_path) != first
    assert located("pack.a", tmp_path) == tmp_path / "pack" / "a.py"
    with pytest.raises(UsageError, match=r"no module pack\.c"):
        located("pack.c", tmp_path)
    with pytest.raises(UsageError, match="without Python source"):
        located("math", tmp_path)


def saved(folder: Path) -> Path:
    namespace: dict[str, object] = {"__name__": "hub_nets"}
    exec(compile(CODE, str(folder), "exec"), namespace)  # noqa: S102  # the test's own code
    torch.manual_seed(0)
    net = namespace["Net"]()  # type: ignore[operator]
    net.save_pretrained(folder.parent / "hub")
    return folder.parent / "hub"


def test_a_hub_folder_is_loaded_by_its_class(folder: Path) -> None:
    hub = saved(folder)
    made = built(HUB, folder=str(hub), **{"class": f"{folder.stem}:Net"})
    torch.manual_seed(0)
    expected = torch.nn.Linear(WIDTH, 3 * SIDE * SIDE)
    assert torch.equal(made.module.layer.weight, expected.weight)
    with pytest.raises(UsageError, match="PyTorchModelHubMixin"):
        built(HUB, folder=str(hub), **{"class": f"{folder.stem}:Stranger"})


def test_hub_folders_without_safetensors_or_with_links_out_are_refused(folder: Path) -> None:
    hub = saved(folder)
    named = {"class": f"{folder.stem}:Net"}
    (hub / "config.json").write_text(json.dumps([1]))
    with pytest.raises(WeightsError, match=r"config.json is no object"):
        built(HUB, folder=str(hub), **named)
    (hub / "config.json").write_text("{")
    with pytest.raises(WeightsError, match="cannot be read"):
        built(HUB, folder=str(hub), **named)
    (hub / "config.json").unlink()
    whole = (hub / "model.safetensors").read_bytes()
    (hub / "model.safetensors").write_bytes(whole[:-100])
    with pytest.raises(WeightsError, match="does not load it"):
        built(HUB, folder=str(hub), **named)
    (folder.parent / "elsewhere").write_bytes(whole)
    (hub / "model.safetensors").unlink()
    (hub / "model.safetensors").symlink_to(folder.parent / "elsewhere")
    with pytest.raises(WeightsError, match="leads out of it"):
        built(HUB, folder=str(hub), **named)
    (hub / "model.safetensors").unlink()
    (hub / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(WeightsError, match=r"pytorch_model.bin is a pickle, and is not loaded"):
        built(HUB, folder=str(hub), **named)


def test_a_file_of_a_function_is_handed_over_and_counts(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "w.txt").write_text("3")
    made = built(MODULE, function=f"{folder.stem}:from_file", file=str(tmp_path / "w.txt"))
    assert made.module.scale == 3
    with pytest.raises(UsageError, match="has no parameter `file`"):
        built(MODULE, function=f"{folder.stem}:make", file=str(tmp_path / "w.txt"))
    assert next(option for option in MODULE.options if option.name == "file").kind == "path"


def test_names_and_modules_beside_a_package_are_part_of_the_code(tmp_path: Path) -> None:
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "__init__.py").touch()
    (tmp_path / "pack" / "a.py").write_text("import helper\nimport plain.mod\n")
    (tmp_path / "plain").mkdir()
    for name in ("helper.py", "plain/mod.py"):
        (tmp_path / name).write_text("x = 1\n")
    first = code_digest("pack.a:make", tmp_path)
    assert code_digest("pack.a:other", tmp_path) != first
    for name in ("helper.py", "plain/mod.py"):
        (tmp_path / name).write_text("x = 2\n")
        assert code_digest("pack.a:make", tmp_path) != first
        (tmp_path / name).write_text("x = 1\n")
    assert code_digest("pack.a:make", tmp_path) == first
