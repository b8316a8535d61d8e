from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sfbench.api import BuildRequest, ModuleGenerator
from sfbench.catalogue import asking
from sfbench.cli import doctor

Command = Callable[..., subprocess.CompletedProcess[str]]
BUILT_IN = {
    "styleformer",
    "styleformer-linformer",
    "styleformer-c",
    "stylegan2",
    "biggan",
    "biggan-deep",
    "gansformer",
    "image-folder",
    "synthetic",
    "diffusers",
    "exported",
    "hub",
    "module",
    "onnx",
    "torchscript",
}
FAULTS = str(Path(__file__).with_name("misbehaving.py"))
BLOCK = """
import importlib.abc, runpy, sys
class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "pandas", "torchvision", "scipy"}:
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Blocker())
sys.argv = ["sfbench", *sys.argv[1:]]
runpy.run_module("sfbench", run_name="__main__")
"""

MODEL = """
from sfbench.api import GeneratorSpec, hookimpl

@hookimpl
def sfbench_generators():
    return [GeneratorSpec(name={name!r}, summary="", resolutions=(32,), build=print)]
"""


@pytest.mark.fast
@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["list"],
        ["list", "weights", "--json"],
        ["plugins"],
        ["run", "--help"],
        ["list", "--help"],
        ["--show-completion", "bash"],
        ["--version"],
    ],
    ids=" ".join,
)
def test_listing_and_help_need_neither_torch_nor_pandas(
    arguments: list[str], tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BLOCK, *arguments],
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(tmp_path),
            "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.fast
def test_every_built_in_model_is_listed(sfbench: Command) -> None:
    rows = json.loads(sfbench("list", "--json").stdout)
    assert {row["name"] for row in rows} == BUILT_IN
    assert "styleformer-linformer" in sfbench("list").stdout
    cards = json.loads(sfbench("list", "weights", "--json").stdout)
    values = {card["published"].get("fid") for card in cards if not card["file"]}
    assert values == {2.82, 15.17, 3.66, 7.99, 5.23, 6.15, 7.42, 9.24, None}


@pytest.mark.fast
def test_the_second_listing_comes_from_the_cache_and_notices_a_change(
    sfbench: Command, tmp_path: Path
) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text(MODEL.format(name="first"))
    assert "first" in sfbench("list", "--plugin", str(plugin)).stdout
    assert "first" in sfbench("list", "--plugin", str(plugin)).stdout
    plugin.write_text(MODEL.format(name="second-name"))
    assert "second-name" in sfbench("list", "--plugin", str(plugin)).stdout


@pytest.mark.fast
@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("raise ValueError('not today')", "ValueError: not today"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("def f(:", "SyntaxError"),
        ("x = 1", "it implements no hook"),
        ("import os; os._exit(9)", "importing it ended the process (status 9)"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "status -11"),
        (
            "from sfbench.api import hookimpl\n@hookimpl\ndef sfbench_generators(): return [3]",
            "expected GeneratorSpec objects",
        ),
        (
            "from sfbench.api import hookimpl\n@hookimpl\ndef sfbench_typo(): return []",
            "PluginValidationError",
        ),
    ],
)
def test_a_broken_plugin_is_listed_with_its_reason_and_takes_nothing_down(
    source: str, problem: str, sfbench: Command, tmp_path: Path
) -> None:
    plugin = tmp_path / "broken_one.py"
    plugin.write_text(source)
    done = sfbench("plugins", "--plugin", str(plugin), "--json")
    entries = {entry["name"]: entry for entry in json.loads(done.stdout)}
    assert problem in entries["broken_one"]["problem"]
    assert entries["styleformer"]["problem"] is None
    assert done.returncode == 0
    wanted = sfbench("run", "--model", "nobody", "--plugin", str(plugin))
    assert wanted.returncode == 7
    assert "broken_one" in wanted.stderr
    listed = {
        row["name"] for row in json.loads(sfbench("list", "--json", "--plugin", str(plugin)).stdout)
    }
    assert listed == BUILT_IN


@pytest.mark.fast
def test_a_name_claimed_twice_is_an_error_that_names_both(sfbench: Command, tmp_path: Path) -> None:
    plugin = tmp_path / "rival.py"
    plugin.write_text(MODEL.format(name="styleformer"))
    done = sfbench("run", "--model", "styleformer", "--plugin", str(plugin))
    assert done.returncode == 7
    assert "rival and styleformer" in done.stderr or "styleformer and rival" in done.stderr
    left = sfbench("list", "--plugin", str(plugin), "--no-plugin", "styleformer", "--json")
    assert "styleformer" in {row["name"] for row in json.loads(left.stdout)}
    unknown = sfbench("list", "--no-plugin", "nobody")
    assert unknown.returncode == 2
    assert "no such plugin" in unknown.stderr


@pytest.mark.parametrize(
    "name", ["styleformer", "styleformer-linformer", "styleformer-c", "stylegan2"]
)
def test_every_built_in_model_holds_to_the_contract(name: str, sfbench: Command) -> None:
    done = sfbench("check", name, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(json.loads(done.stdout)[name]) == 7


def test_check_says_which_point_a_model_breaks(sfbench: Command) -> None:
    good, bad, flags = (
        sfbench("check", f"fault-{fault}", "--plugin", FAULTS, "--json")
        for fault in ("none", "nan", "flags")
    )
    assert (good.returncode, bad.returncode, flags.returncode) == (0, 1, 1)
    failed = {
        r["name"]: r["detail"] for r in json.loads(bad.stdout)["fault-nan"] if not r["passed"]
    }
    assert "NaN" in failed["shape, range, finite"]
    assert "threads" in json.loads(flags.stdout)["fault-flags"][0]["detail"]


def test_sample_draws_a_grid_and_convert_refuses_rubbish(sfbench: Command, tmp_path: Path) -> None:
    from PIL import Image

    small = ("--option", "preset=readme-example")
    done = sfbench("sample", "--model", "styleformer", "--seeds", "0-4", "-o", "grid.png", *small)
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "grid.png") as grid:
        assert grid.size == (3 * 34 - 2, 2 * 34 - 2)
    (tmp_path / "x.pkl").write_bytes(b"\x80\x03cposix\nsystem\nX\x02\x00\x00\x00id\x85R.")
    refused = sfbench("convert", "x.pkl", "y.safetensors")
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "posix.system" in refused.stderr
    ran = sfbench("run", "--model", "styleformer", "--res", "32", "--weights", "x.pkl", "--json")
    assert "posix.system" in json.loads(ran.stdout)[0]["reason"]


@pytest.mark.fast
def test_report_of_an_empty_store_says_so_and_exits_5(sfbench: Command) -> None:
    done = sfbench("report")
    assert done.returncode == 5
    assert "sfbench run" in done.stderr
    assert sfbench("report", "--format", "xls").returncode == 2


@pytest.mark.fast
def test_doctor_says_of_a_gpu_what_its_driver_says_and_complains_of_heat_alone() -> None:
    idle = {
        "name": "G", "driver": "580.1", "memory_bytes": 80 << 30, "power_limit_milliwatts": None,
        "sm_clock_mhz": 345, "clock_reasons": 1, "held_down": False, "other_processes": 0,
    }  # fmt: skip
    assert doctor.gpu_line(idle) == "driver 580.1, 81,920 MiB, 345 MHz"
    facts = {
        "cpu_pressure_percent": 0,
        "host_peak_resettable": True,
        "extractor_weights": [],
        "broken": [],
    }
    assert not any("throttled" in line for line in doctor.advice({**facts, "gpus": [idle]}))
    hot = idle | {"clock_reasons": 0x41, "held_down": True}
    assert any("0x41" in line for line in doctor.advice({**facts, "gpus": [hot]}))
    assert doctor.quota(None) == "none: every processor may be used"


def test_doctor_reports_without_changing_anything(sfbench: Command) -> None:
    facts = json.loads(sfbench("doctor", "--json").stdout)
    assert facts["machine"]["cpus"] >= 1
    files = {row["file"]: row for row in facts["extractor_weights"]}
    assert files["weights-inception-2015-12-05-6726825d.pth"]["size"] == 95_628_359
    assert files["ViT-L-14-336px.pt"]["sha256"].startswith("3035c92b")
    assert {row["state"] for row in files.values()} == {"missing"}
    assert "fd[...]" in sfbench("doctor").stdout


@pytest.mark.fast
@pytest.mark.parametrize(
    "source",
    [
        "import time; time.sleep(1000)",
        "while True: pass",
        "import re; re.match('(a*)*b', 'a' * 99)",
    ],
)
def test_a_plugin_that_hangs_is_given_up_once(
    source: str, sfbench: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    child = asking.child_answer
    monkeypatch.setattr(asking, "child_answer", lambda *a: asked.append(a[1]) or child(*a))
    monkeypatch.setattr(asking, "SILENT_SECONDS", 1)
    plugin = tmp_path / "stuck.py"
    plugin.write_text("x = 1\n" + source)
    listing = ("plugins", "--plugin", str(plugin), "--json")
    for children in (2, 2):
        (entry,) = [e for e in json.loads(sfbench(*listing).stdout) if e["name"] == "stuck"]
        assert "importing it hung (stuck.py:2)" in entry["problem"]
        assert len(asked) == children
    plugin.write_text(MODEL.format(name="better"))
    assert "better" in sfbench("list", "--plugin", str(plugin)).stdout


@pytest.mark.fast
def test_a_thread_that_a_plugin_leaves_running_keeps_nobody_waiting(
    sfbench: Command, tmp_path: Path
) -> None:
    plugin = tmp_path / "threaded.py"
    start = "import threading, time; threading.Thread(target=time.sleep, args=(60,)).start()\n"
    plugin.write_text(start + MODEL.format(name="threaded"))
    began = time.monotonic()
    assert "threaded" in sfbench("list", "--plugin", str(plugin)).stdout
    assert time.monotonic() - began < 30


def test_plugins_find_their_own_modules_in_every_command(
    sfbench: Command, sfbench_process: Command, tmp_path: Path
) -> None:
    given = []
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "naming.py").write_text(f"NAME = 'model-{name}'")
        (folder / f"plugin_{name}.py").write_text(
            "from naming import NAME\n" + MODEL.replace("{name!r}", "NAME")
        )
        given += ["--plugin", str(folder / f"plugin_{name}.py")]
    listed = json.loads(sfbench("list", *given, "--json").stdout)
    assert {row["name"] for row in listed} - BUILT_IN == {"model-first", "model-second"}
    for name in ("first", "second"):
        done = sfbench_process("check", f"model-{name}", *given)
        assert done.returncode == 1, done.stderr
        assert f"model-{name}" in done.stdout


def test_an_installed_plugin_that_crashes_takes_down_itself_alone(
    sfbench_process: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "site"
    info = place / "crasher-1.0.dist-info"
    info.mkdir(parents=True)
    (place / "crasher.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: crasher\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[sfbench]\ncrasher = crasher\n")
    monkeypatch.setenv("PYTHONPATH", str(place))
    small = ("--model", "styleformer", "--option", "preset=readme-example")
    done = sfbench_process("sample", *small, "--seeds", "0-1", "-o", str(tmp_path / "grid.png"))
    assert done.returncode == 0, done.stderr
    (tmp_path / "x.pkl").write_bytes(b"nothing")
    refused = sfbench_process("convert", str(tmp_path / "x.pkl"), str(tmp_path / "y.safetensors"))
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    listed = json.loads(sfbench_process("plugins", "--json").stdout)
    (entry,) = [e for e in listed if e["name"] == "crasher"]
    assert "status -11" in entry["problem"]


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
@pytest.mark.parametrize("kind", ["script", "export"])
def test_scripted_and_exported_modules_are_modules(kind: str) -> None:
    import torch
    from torch import nn

    module: nn.Module = nn.Sequential(nn.Linear(4, 3 * 16), nn.Unflatten(1, (3, 4, 4)))
    z = torch.zeros(2, 4)
    if kind == "script":
        module = torch.jit.trace(module, z)
    else:
        batch = torch.export.Dim("batch")
        module = torch.export.export(module, (z,), dynamic_shapes=({0: batch},)).module()
    request = BuildRequest(resolution=4)
    generator = ModuleGenerator(module, request, latent_shape=(4,))
    images = generator.synthesize(generator.draw_latents([1, 2, 3]))
    assert images.shape == (3, 3, 4, 4)
    assert not images.requires_grad


def test_weights_are_checked_too(sfbench: Command, tmp_path: Path) -> None:
    assert sfbench("check", "styleformer", "--weights", "nowhere.pt").returncode == 2
    (tmp_path / "bad.pt").write_bytes(b"")
    done = sfbench("check", "styleformer", "--weights", "bad.pt", "--json")
    assert done.returncode == 1
    assert "it is empty" in json.loads(done.stdout)["styleformer"][0]["detail"]
