"""Train a nano preset on `shapes`, and put its weights into the package.

    python scripts/ship_weights.py MODEL FOLDER [FILES] [--as-it-is]

The recipe of the weights that are shipped: `sfbench train --model MODEL --preset nano --out FOLDER`
(a finished run in FOLDER is taken as it is, with --as-it-is also one that was ended early), the best
snapshot in half precision, its quality measured again from the shipped file on the harness's own
path, and a card. FILES: another folder than the package's own.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

PACKAGE = Path(__file__).parents[1] / "reference_models"
SAMPLES = 1024
LARGEST = 8_000_000
TRAIN = ("--preset", "nano", "--snapshot-kimg", "10", "--metrics", str(SAMPLES))
CARD = """name = "{name}"
model = "{model}"
resolution = {resolution}
dataset = "shapes"
location = "shipped with sfbench"
source = "measured by sfbench: {samples:,} images against as many of shapes"
file = "weights/{name}.safetensors"
size = {size}
sha256 = "{sha256}"

[published]
"{metric}" = {value}

[options]
preset = "{preset}"

[details]
recipe = "sfbench train --model {model} --preset nano {flags}"
kimg = {kimg}
seed = {seed}
images = {images}
precision = "float16, trained in {dtype}"
identity = "{identity}"
evidence = "ours"
"""


def sfbench(*arguments: str) -> str:
    """Run an sfbench command and return its output; its progress is shown."""
    command = [sys.executable, "-m", "sfbench", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout  # noqa: S603  # this program


def shipped(run: Path, target: Path) -> dict[str, Any]:
    """Write the best weights of the run in half precision; return its card."""
    source = run / "best.safetensors"
    with safetensors.safe_open(source, framework="pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name).to(torch.float16) for name in file.keys()}  # noqa: SIM118  # no dict
    safetensors.torch.save_file(tensors, target, metadata)
    card: dict[str, Any] = json.loads(source.with_suffix(".json").read_text(encoding="utf-8"))
    return card


def quality(model: str, preset: str, weights: Path) -> tuple[str, float]:
    """Return the distance of the shipped file's images: its name, its value."""
    with tempfile.TemporaryDirectory() as store:
        text = sfbench(
            "run", "--model", model, "--option", f"preset={preset}", "--weights", str(weights),
            "--measure", "quality", "--samples", str(SAMPLES), "--store", store, "--json",
        )  # fmt: skip
    readings = json.loads(text)[0]["readings"]
    found = next(r for r in readings if r["metric"].startswith("fd["))
    return found["metric"], found["value"]


def main() -> int:
    """Train, ship, measure, describe."""
    parser = argparse.ArgumentParser(description="Train a nano preset and ship its weights.")
    parser.add_argument("model")
    parser.add_argument("run", type=Path)
    parser.add_argument("files", type=Path, nargs="?", default=PACKAGE)
    parser.add_argument("--as-it-is", action="store_true", help="take a run that was ended early")
    given = parser.parse_args()
    if not given.as_it_is:
        sfbench("train", "--model", given.model, "--out", str(given.run), "--resume", *TRAIN)
    asked = json.loads((given.run / "run.json").read_text(encoding="utf-8"))["asked"]
    name = f"{given.model}-nano-shapes"
    target = given.files / "weights" / f"{name}.safetensors"
    target.parent.mkdir(parents=True, exist_ok=True)
    card = shipped(given.run, target)
    content = target.read_bytes()
    if len(content) > LARGEST:
        sys.exit(f"{target}: {len(content):,} bytes, at most {LARGEST:,} are shipped")
    preset = asked["options"]["preset"]
    metric, value = quality(given.model, preset, target)
    card["quality_shipped"] = {metric: value}
    target.with_suffix(".json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    text = CARD.format(
        name=name,
        model=given.model,
        resolution=asked["resolution"],
        preset=preset,
        samples=SAMPLES,
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        metric=metric,
        value=round(value, 2),
        flags=" ".join(TRAIN[2:]),
        kimg=card["kimg"],
        seed=asked["seed"],
        images=asked["images"],
        dtype=asked["dtype"],
        identity=card["identity"],
    )
    (given.files / "cards").mkdir(exist_ok=True)
    (given.files / "cards" / f"{name}.toml").write_text(text, encoding="utf-8")
    print(f"{target}: {len(content):,} bytes, {metric} {value:.2f} at {card['kimg']} kimg")
    return 0


if __name__ == "__main__":
    sys.exit(main())
