"""Models named as KIND:PATH: on the command line, in plans, records and the commands of reports."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from graph_making import SHORT, WIDTH, Tiny, onnx_file
from making import a_catalogue, a_model, a_stored_case

from sfbench.api.errors import UsageError
from sfbench.api.spec import GeneratorSpec, Option
from sfbench.values.case import request_of
from sfbench.values.paths import model_names

Command = Callable[..., subprocess.CompletedProcess[str]]
FILE = Option(name="file", kind="path", weights=True, help="")


@pytest.mark.fast
@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a", ["a"]),
        ("a,b", ["a", "b"]),
        ("onnx:g.onnx,styleformer", ["onnx:g.onnx", "styleformer"]),
        ("onnx:a,b.onnx,styleformer", ["onnx:a,b.onnx", "styleformer"]),
        ("onnx:no,b", ["onnx:no", "b"]),
        ("onnx:g.onnx,res=32", ["onnx:g.onnx", "res=32"]),
    ],
)
def test_a_path_with_a_comma_is_one_model_where_it_exists(
    text: str, names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a,b.onnx").touch()
    assert model_names(text) == names


@pytest.mark.fast
def test_a_reference_binds_the_option_that_its_kind_names() -> None:
    kind = a_model(name="onnx", options=(FILE,), reference="file")
    model = a_catalogue(kind).model("onnx:~/x/g.onnx")
    assert model.name == "onnx:g.onnx"
    assert model.resolve({})["file"] == str(Path("~/x/g.onnx").expanduser())
    with pytest.raises(UsageError, match=r"the model onnx:g.onnx names it already"):
        model.resolve({"file": "other"})
    with pytest.raises(UsageError, match=r"expected onnx:FILE"):
        a_catalogue(kind).model("onnx:")
    with pytest.raises(UsageError, match=r"available: onnx:FILE"):
        a_catalogue(kind).model("onxx:g.onnx")


@pytest.mark.fast
def test_what_runs_code_is_refused_until_it_is_trusted() -> None:
    model = a_model(name="script:x", executes="a program")
    with pytest.raises(UsageError, match=r"loading it runs a program; add --trust"):
        model.check_usable(trusted=False)
    model.check_usable(trusted=True)
    lacking = a_model(requires={"no_such_package_here": "sfbench[x]"})
    with pytest.raises(UsageError, match=r"needs the package .*pip install 'sfbench\[x\]'"):
        lacking.check_usable(trusted=False)


@pytest.mark.fast
def test_a_kind_whose_reference_is_no_option_is_an_error() -> None:
    with pytest.raises(ValueError, match="none of its options"):
        GeneratorSpec(name="x", summary="", resolutions=(), build=print, reference="file")  # type: ignore[arg-type]


@pytest.mark.fast
def test_the_command_of_a_row_names_the_file_and_never_trusts_it() -> None:
    case = a_stored_case(
        model="onnx:g.onnx",
        options={"file": "0" * 64, "range": ""},
        files={"option.file": "g.onnx"},
        weights={"kind": "option", "sha256": "0" * 64},
    )
    command = request_of(case, {"file": None, "range": ""}).command()
    assert "--model onnx:g.onnx" in command
    assert "file=" not in command
    assert "--trust" not in command


def test_a_suite_may_not_trust(sfbench: Command, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text('[[run]]\nmodel = "torchscript:x.pt"\ntrust = true\n')
    done = sfbench("run", "--suite", "s.toml")
    assert done.returncode == 2
    assert "unknown key trust" in done.stderr
    (tmp_path / "s.toml").write_text('[[run]]\nmodel = "torchscript:x.pt"\n')
    refused = sfbench("run", "--suite", "s.toml")
    assert "add --trust" in refused.stderr
    trusted = sfbench("run", "--suite", "s.toml", "--trust")
    assert "x.pt: " in trusted.stderr
    assert "--trust" not in trusted.stderr


def test_one_table_holds_models_of_every_kind(sfbench: Command, tmp_path: Path) -> None:
    onnx_file(tmp_path / "g.onnx")
    (tmp_path / "made_here.py").write_text(
        "from torch import nn\n"
        "def make():\n"
        f"    return nn.Sequential(nn.Linear({WIDTH}, 768), nn.Tanh(), nn.Unflatten(1, (3, 16, 16)))\n"
        "def pictures(seeds):\n"
        "    import numpy as np\n"
        "    return np.stack([np.random.default_rng(s).random((16, 16, 3), np.float32) for s in seeds])\n"
    )
    models = "onnx:g.onnx,module:made_here:make,module:made_here:pictures,synthetic"
    asked = ("--res", "16", "--samples", "16", "--json", "--option", "latent_shape=12", *SHORT)
    options = ("--option", "products=1", "--option", "width=8")
    done = sfbench("run", "--model", models, "--measure", "speed,quality", *asked, *options)
    assert done.returncode == 0, done.stderr
    records = json.loads(done.stdout)
    assert {record["case"]["model"] for record in records} == set(models.split(","))
    shown = sfbench("report")
    assert "onnx:g.onnx" in shown.stdout
    assert re.search(r"file [0-9a-f]{8}\s", shown.stdout)
    only = sfbench("report", "--model", "onnx:g.onnx", "--format", "csv")
    assert len(only.stdout.splitlines()) == 2
    # The same content under the same name is not measured twice, another content is.
    again = sfbench("run", "--model", "onnx:g.onnx", "--measure", "speed,quality", *asked)
    assert "0 trials to measure, 2 already measured" in again.stderr
    onnx_file(tmp_path / "g.onnx", scale=0.5)
    changed = sfbench("run", "--model", "onnx:g.onnx", "--measure", "quality", *asked)
    assert "1 trial to measure" in changed.stderr


def test_a_record_of_a_file_is_measured_again_from_where_the_file_is_now(
    sfbench: Command, tmp_path: Path
) -> None:
    onnx_file(tmp_path / "g.onnx")
    asked = ("--res", "16", "--samples", "16", "--measure", "quality")
    assert sfbench("run", "--model", "onnx:g.onnx", *asked).returncode == 0
    (record,) = (tmp_path / "results" / "runs").glob("*.json")
    missing = sfbench("replay", str(record))
    assert missing.returncode == 2
    assert "--option file=PATH" in missing.stderr
    (tmp_path / "g.onnx").rename(tmp_path / "moved.onnx")
    done = sfbench("replay", str(record), "--option", "file=moved.onnx", "--json")
    assert done.returncode == 0, done.stderr + done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--model", "onnx:none.onnx"), "onnx:none.onnx: "),
        (("--model", "onnx:"), "expected onnx:FILE"),
        (("--model", "module:nosuch:make"), "no module nosuch"),
        (("--model", "module:oops"), "expected package.module:name"),
        (("--model", "torchscript:x.pt"), "add --trust"),
        (("--model", "onnx"), "is written onnx:FILE"),
        (("--model", "onnx:x.onnx,styleformer", "--weights", "x.pt"), "names them, too"),
    ],
)
def test_a_reference_that_cannot_be_is_one_line_before_anything_is_measured(
    arguments: tuple[str, ...], words: str, sfbench: Command, tmp_path: Path
) -> None:
    (tmp_path / "x.pt").write_bytes(b"x")
    (tmp_path / "x.onnx").write_bytes(b"x")
    done = sfbench("run", *arguments, "--res", "16")
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_check_and_sample_take_references(sfbench: Command, tmp_path: Path) -> None:
    onnx_file(tmp_path / "g.onnx")
    checked = sfbench("check", "onnx:g.onnx", "--res", "16", "--json")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert all(result["passed"] for result in json.loads(checked.stdout)["onnx:g.onnx"])
    drawn = sfbench("sample", "--model", "onnx:g.onnx", "--res", "16", "-o", "g.png")
    assert drawn.returncode == 0, drawn.stderr
    assert "file weights" in drawn.stdout
    assert (tmp_path / "g.png").stat().st_size


def test_the_tiny_model_depends_on_its_latents() -> None:
    images = Tiny()(__import__("torch").randn(2, WIDTH))
    assert images.shape == (2, 3, 16, 16)
    assert not images[0].equal(images[1])


@pytest.mark.fast
def test_a_suite_may_sweep(tmp_path: Path) -> None:
    from sfbench.run.suites import read_suite

    (tmp_path / "s.toml").write_text(
        '[[run]]\nmodel = "styleformer"\nsweep = { truncation_psi = [0.5, 1.0], noise = "const" }\n'
    )
    (row,) = read_suite(str(tmp_path / "s.toml")).rows
    assert row.request.sweep == ("truncation_psi=0.5,1.0", "noise=const")
