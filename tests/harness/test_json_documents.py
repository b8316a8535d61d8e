"""Every document that `--json` prints holds to its schema in docs/schemas."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import typer.main
from graph_making import SHORT
from making_images import images
from torchvision import models

from sfbench.cli.commands import app

referencing = pytest.importorskip("referencing", reason="referencing: comes with jsonschema")
jsonschema = pytest.importorskip("jsonschema", reason="jsonschema: comes with altair")
Command = Callable[..., subprocess.CompletedProcess[str]]
SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"
CASE = ("--res", "16", *SHORT)
QUALITY = ("--images", "shapes", "--reference", "shapes", "--res", "16", "--samples", "40")
LISTS = ("models", "weights", "presets", "data", "extractors", "protocols", "suites", "metrics")
COMMANDS: dict[str, tuple[str, ...]] = {
    **{f"list-{what}": ("list", what) for what in LISTS},
    "plugins": ("plugins",),
    "doctor": ("doctor",),
    "run": ("run", "--model", "synthetic", "--samples", "40", *CASE),
    "demo": ("demo", "--scale", "smoke"),
    "scaling": ("scaling", "--model", "synthetic", "--res", "8,16,32"),
    "frontier": (
        "frontier", "--model", "styleformer", "--option", "preset=nano", "--knob",
        "truncation_psi=0.5:1", "--budget", "300s", "--samples", "16", "--res", "32", *SHORT,
    ),
    "compare": ("compare", "base", "change"),
    "path-length": (
        "path-length", "--model", "stylegan2", "--option", "preset=nano", "--res", "32", "--paths",
        "4", "--vgg-weights", "vgg.pth",
    ),
    "diversity": (
        "diversity", "--images", "real.zip", "--pairs", "4", "--vgg-weights", "vgg.pth",
    ),
    "panel": ("panel", "made.zip", "--reference", "real.zip"),
    "reconstruct": ("reconstruct", "--originals", "real.zip", "--reconstructions", "made.zip"),
    "lottery": (
        "lottery", "--model", "stylegan2", "--preset", "nano-16", "--train-kimg", "0.064",
        "--train-seeds", "2", "--sample-seeds", "2", "--samples", "16",
    ),
    "certify": (
        "certify", "--of", "styleformer,preset=nano", "--against", "styleformer,preset=nano",
        "--res", "32", "--samples", "32", "--quads", "0",
    ),
    "inspect": ("inspect", "--model", "styleformer", "--option", "preset=nano", "--seeds", "0-1"),
    "check": ("check", "synthetic"),
    "quality": ("quality", *QUALITY),
    "plan": ("plan", "--suite", "styleformer-paper"),
    "status": ("status", "base"),
    "train": (
        "train", "--model", "styleformer", "--preset", "nano-16", "--out", "trained", "--kimg", "0.1",
        "--subset", "64", "--metrics", "0",
    ),
    "data-build": ("data", "build", "real.zip", "--out", "prepared", "--res", "16"),
    "data-info": ("data", "info", "prepared"),
    "explain": (
        "explain", "shapes", "shapes", "--protocols", "sfbench", "clean-fid-0.1", "--extractor",
        "cifar-cnn7", *QUALITY[4:],
    ),
    "replay": ("replay", "RECORD", "--only", "quality,complexity"),
    "replay-spot-check": ("replay", "RECORD", "--spot-check"),
    "reproduce": ("reproduce", "suite.toml"),
    "data-stats": ("data", "stats"),
}  # fmt: skip
"""A short command for every kind of document."""


SUITE = """
[[run]]
model = "synthetic"
res = 16
measure = "memory"
"""


def prepare(name: str, sfbench: Command, folder: Path) -> tuple[str, ...]:
    """Make what a command needs; return the command."""
    images(folder / "real.zip", 0)
    images(folder / "made.zip", 1)
    (folder / "suite.toml").write_text(SUITE, encoding="utf-8")
    if name in {"path-length", "diversity"}:
        torch.manual_seed(0)
        torch.save(models.vgg16(weights=None).state_dict(), folder / "vgg.pth")
    if name == "data-info":
        assert sfbench(*COMMANDS["data-build"]).returncode == 0
    for store in {
        "compare": ("base", "change"),
        "replay": ("results",),
        "replay-spot-check": ("results",),
        "status": ("base",),
    }.get(name, ()):
        more = ("--measure", "quality") if name == "replay-spot-check" else ()
        assert sfbench(*COMMANDS["run"], *more, "--store", store).returncode == 0
    record = next(iter(sorted((folder / "results" / "runs").glob("*.json"))), Path("none"))
    return tuple(str(record) if word == "RECORD" else word for word in COMMANDS[name])


def registry() -> Any:
    """Return the schemas that others refer to."""
    named = ("record-1.json", "compare-1.json")
    read = {one: json.loads((SCHEMAS / one).read_text(encoding="utf-8")) for one in named}
    resources = ((one, referencing.Resource.from_contents(text)) for one, text in read.items())
    return referencing.Registry().with_resources(resources)


def documents(done: subprocess.CompletedProcess[str], name: str) -> list[Any]:
    """Return what a command printed: one document, or one line each."""
    if name == "train":
        return [json.loads(line) for line in done.stdout.splitlines()]
    return [json.loads(done.stdout)]


@pytest.mark.parametrize("name", [*COMMANDS, "quality --against shapes"])
def test_a_document_holds_to_its_schema(name: str, sfbench: Command, tmp_path: Path) -> None:
    name, *more = name.split()
    schema = json.loads((SCHEMAS / f"{name}-1.json").read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(schema, registry=registry())
    validator.check_schema(schema)
    done = sfbench(*prepare(name, sfbench, tmp_path), *more, "--json")
    found = documents(done, name)
    assert found, done.stderr
    for document in found:
        errors = [
            f"{error.json_path}: {error.message[:200]}" for error in validator.iter_errors(document)
        ]
        assert errors == []


def test_every_command_with_json_has_a_schema() -> None:
    group = typer.main.get_command(app)
    commands = dict(group.commands)  # type: ignore[attr-defined]
    data = commands.pop("data")
    commands |= {f"data-{name}": command for name, command in data.commands.items()}
    takes = {
        name
        for name, command in commands.items()
        if any("--json" in parameter.opts for parameter in command.params)
    }
    several = {"list": "list-", "replay": "replay-"}
    named = {
        next((one for one, start in several.items() if name.startswith(start)), name)
        for name in COMMANDS
    }
    assert named == takes
    there = {path.stem.removesuffix("-1") for path in SCHEMAS.glob("*.json")}
    assert there == {*COMMANDS, "record", "plan-file"}
