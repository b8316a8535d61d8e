"""What an author is told of a plugin that is not quite right, and what a trial makes of it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]
PLUGIN = """
{top}
from sfbench.api import GeneratorSpec, ModuleGenerator, hookimpl


def build(request):
    import torch
    from torch import nn

    side = request.resolution
    net = nn.Sequential(nn.Linear(8, 3 * side * side), nn.Tanh(), nn.Unflatten(1, (3, side, side)))

    class Changed(ModuleGenerator):
        def synthesize(self, latents):
            images = super().synthesize(latents)
            {body}

    return Changed(net, request, latent_shape=(8,))


@hookimpl
def sfbench_generators():
    return [GeneratorSpec(name="odd", summary="", resolutions=(16,), build=build)]
"""


def plugin(folder: Path, body: str = "return images", top: str = "") -> str:
    path = folder / "odd.py"
    path.write_text(PLUGIN.format(body=body, top=top))
    return str(path)


RUN = ("run", "--model", "odd", "--res", "16", "--measure", "quality", "--samples", "16", "--json")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            "return images.numpy()",
            "returned numpy.ndarray; expected a torch.Tensor: torch.from_numpy(x)",
        ),
        ("return list(images)", "returned list; expected a torch.Tensor: torch.stack(x)"),
        (
            "return ((images + 1) * 127.5).to(torch.uint8)",
            "returned torch.uint8; expected floating",
        ),
        ("return images.permute(0, 2, 3, 1)", "channels come second, x.permute(0, 3, 1, 2)"),
        ("return (images + 1) * 127.5", "(x / 127.5 - 1 of 0 to 255)"),
        ("return images[:, :2]", "images have shape (3, 2, 16, 16); expected (3, 1 or 3, 16, 16)"),
        ("return images[..., :8]", "images have shape (3, 3, 16, 8)"),
        ("torch.set_num_threads(torch.get_num_threads() + 1); return images", "threads"),
        ("torch.set_default_dtype(torch.float64); return images", "default_dtype"),
    ],
)
def test_what_is_wrong_is_named_with_what_helps(
    body: str, words: str, sfbench: Command, tmp_path: Path
) -> None:
    done = sfbench(*RUN, "--plugin", plugin(tmp_path, body))
    (record,) = json.loads(done.stdout)
    assert record["status"] == "contract_failed"
    assert words in record["reason"]


@pytest.mark.parametrize("made", ["None", "torch.nn.Linear(2, 2)", "'text'"])
def test_a_build_that_returns_something_else_is_told_what_to_return(
    made: str, sfbench: Command, tmp_path: Path
) -> None:
    text = Path(plugin(tmp_path)).read_text()
    other = text.replace("return Changed(", f"import torch; return {made}; Changed(")
    (tmp_path / "odd.py").write_text(other)
    given = str(tmp_path / "odd.py")
    (record,) = json.loads(sfbench(*RUN, "--plugin", given).stdout)
    assert record["status"] == "contract_failed"
    assert "without resolution, draw_latents, synthesize; expected" in record["reason"]
    assert "build returned" in sfbench("check", given).stdout


@pytest.mark.parametrize("reads", [True, False])
def test_weights_that_a_plugin_never_looks_at_are_refused(
    reads: bool, sfbench: Command, tmp_path: Path
) -> None:
    (tmp_path / "w.pt").write_bytes(b"hello")
    text = Path(plugin(tmp_path)).read_text()
    if reads:
        text = text.replace("side = request", "assert request.weights is not None; side = request")
    (tmp_path / "odd.py").write_text(text)
    given = ("--plugin", str(tmp_path / "odd.py"), "--weights", "w.pt")
    (record,) = json.loads(sfbench(*RUN, *given).stdout)
    assert record["status"] == ("ok" if reads else "unsupported")
    assert reads or "odd does not take --weights: its build never looked at" in record["reason"]
    checked = sfbench("check", str(tmp_path / "odd.py"), "--weights", "w.pt")
    assert ("does not take --weights" in checked.stdout) == (not reads)


def test_switches_changed_in_a_call_fail_the_check(sfbench: Command, tmp_path: Path) -> None:
    given = plugin(tmp_path, "torch.set_num_threads(torch.get_num_threads() + 1); return images")
    done = sfbench("check", given)
    assert done.returncode == 1
    assert "making images changed torch's global threads" in done.stdout


def test_images_in_zero_to_one_are_flagged_and_told_to_the_author(
    sfbench: Command, tmp_path: Path
) -> None:
    given = plugin(tmp_path, "return (images + 1) / 2")
    (record,) = json.loads(sfbench(*RUN, "--plugin", given).stdout)
    assert record["status"] == "ok"
    assert "unit_range" in record["flags"]
    assert "images in [0, 1] must become x * 2 - 1" in sfbench("check", given).stdout
    right = plugin(tmp_path)
    (record,) = json.loads(sfbench(*RUN, "--plugin", right).stdout)
    assert record["flags"] == []
    assert "WARNING" not in sfbench("check", right).stdout


def test_switches_that_an_import_sets_do_not_last(sfbench: Command, tmp_path: Path) -> None:
    top = (
        "import torch\ntorch.set_num_threads(torch.get_num_threads() + 1)\n"
        "torch.backends.cuda.matmul.allow_tf32 = True\ntorch.set_grad_enabled(False)"
    )
    given = plugin(tmp_path, top=top)
    listed = sfbench("plugins", "--plugin", given)
    assert "odd" in listed.stdout
    assert "broken" not in listed.stderr
    (record,) = json.loads(sfbench(*RUN, "--plugin", given, "--threads", "1").stdout)
    assert record["status"] == "ok"
    assert record["provenance"]["switches_set_by_import"] == [
        "matmul_tf32",
        "grad_enabled",
        "threads",
    ]


def test_an_error_of_a_plugin_names_its_line_and_keeps_the_traceback(
    sfbench: Command, tmp_path: Path
) -> None:
    given = plugin(tmp_path, "raise ValueError('out of ideas\\nand more \\udcff')")
    (record,) = json.loads(sfbench(*RUN, "--plugin", given).stdout)
    assert record["status"] == "error"
    assert record["reason"].startswith("ValueError: out of ideas (odd.py:")
    kept = "\n".join(record["provenance"]["traceback"])
    assert "in synthesize" in kept
    assert given in kept
