from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from sfbench.api import Option
from sfbench.api.errors import DataError
from sfbench.store.content import content_sha256

Command = Callable[..., subprocess.CompletedProcess[str]]
PLUGIN = """
from pathlib import Path
import torch
from sfbench.api import GeneratorSpec, ModuleGenerator, Option, hookimpl

def build(request):
    torch.nn.Linear(1, 1)
    level = float(len(list(Path(request.options["hub"]).iterdir())) if request.options["hub"] else 0)
    module = torch.nn.Sequential(torch.nn.Linear(8, 3 * 64), torch.nn.Unflatten(1, (3, 8, 8)))
    return ModuleGenerator(module, request, latent_shape=(8,))

@hookimpl
def sfbench_generators():
    hub = Option(name="hub", kind="path", help="folder", default="", weights=True)
    return [GeneratorSpec(name="hubbed", summary="", resolutions=(8,), options=(hub,), build=build)]
"""


@pytest.mark.fast
def test_a_folder_is_its_files_and_their_names(tmp_path: Path) -> None:
    hub = tmp_path / "hub"
    (hub / "unet").mkdir(parents=True)
    (hub / "unet" / "model.bin").write_bytes(b"1")
    (hub / ".cache").mkdir()
    first = content_sha256(hub)
    (hub / ".cache" / "x").write_text("hidden")
    assert content_sha256(hub) == first
    hub.rename(tmp_path / "other")
    hub = tmp_path / "other"
    assert content_sha256(hub) == first
    (hub / "loop").symlink_to(hub)
    assert content_sha256(hub) == first
    (hub / "unet" / "model.bin").rename(hub / "unet" / "model2.bin")
    assert content_sha256(hub) != first
    (hub / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DataError, match="dangling cannot be read"):
        content_sha256(hub)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match="empty folder"):
        content_sha256(empty)
    with pytest.raises(DataError, match="no such file"):
        content_sha256(tmp_path / "nowhere")


@pytest.mark.fast
@pytest.mark.parametrize("name", ["net.onnx.data", "anything.bin", "parts/w"])
def test_an_onnx_file_counts_with_its_external_data(name: str, tmp_path: Path) -> None:
    net, data = tmp_path / "net.onnx", tmp_path / name
    data.parent.mkdir(exist_ok=True)
    net.write_bytes(b"\x08\x07location\x12\x0d" + name.encode() + b"\x00")
    data.write_bytes(b"first")
    (tmp_path / "notes.txt").write_text("of no account")
    first = content_sha256(net)
    (tmp_path / "notes.txt").write_text("changed")
    assert content_sha256(net) == first
    data.write_bytes(b"second")
    assert content_sha256(net) != first


@pytest.mark.fast
def test_weights_are_named_by_paths() -> None:
    with pytest.raises(ValueError, match="named by a path"):
        Option(name="size", kind="int", help="", weights=True)


def test_an_options_content_decides_and_its_weights_are_told(
    sfbench: Command, tmp_path: Path
) -> None:
    plugin, hub = tmp_path / "hubbed.py", tmp_path / "hub"
    plugin.write_text(PLUGIN)
    hub.mkdir()
    (hub / "model.bin").write_bytes(b"1")
    run = (
        "run", "--plugin", str(plugin), "--model", "hubbed", "--res", "8", "--batch", "2",
        "--measure", "memory", "--trials", "1", "--json",
    )  # fmt: skip

    def record(*more: str) -> dict[str, object]:
        done = sfbench(*run, *more)
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout)[0])

    given = ("--option", f"hub={hub}")
    first = record(*given)
    assert first["case"]["weights"] == {"kind": "option", "sha256": content_sha256(hub)}
    assert record(*given)["identity"] == first["identity"]
    (hub / "model.bin").write_bytes(b"2")
    second = record(*given)
    assert second["identity"] != first["identity"]
    assert record()["case"]["weights"]["kind"] == "random"
    both = sfbench(*run, *given, "--weights", "random")
    assert (both.returncode, both.stderr.count("\n")) == (2, 1)
    nowhere = sfbench(*run, "--option", "hub=nowhere")
    assert (nowhere.returncode, nowhere.stderr.count("\n")) == (2, 1)
    assert "--option hub=nowhere: no such file or folder" in nowhere.stderr
