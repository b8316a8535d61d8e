"""Names and files of the built-in extractors: Inception-v3 as published, and the embedded network."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sfbench.api.spec import WeightsFile

INCEPTION = "inception-v3"
EMBEDDED = "cifar-cnn7"
SAMPLES = 1024
"""Default number of generated images to compare."""
EMBEDDED_FOLDER = Path(__file__).with_name("embedded")
STANDARD = WeightsFile(
    name="weights-inception-2015-12-05-6726825d.pth",
    url=(
        "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
        "weights-inception-2015-12-05-6726825d.pth"
    ),
    size=95_628_359,
    sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
)
TORCHSCRIPT = WeightsFile(
    name="inception-2015-12-05.pt",
    url=(
        "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/"
        "inception-2015-12-05.pt"
    ),
    size=95_607_719,
    sha256="f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4",
)
STANDARD_FILES = (
    STANDARD,
    dataclasses.replace(
        STANDARD,
        name="pt_inception-2015-12-05-6726825d.pth",
        url=(
            "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
            "pt_inception-2015-12-05-6726825d.pth"
        ),
    ),
    TORCHSCRIPT,
)


def embedded_card() -> Mapping[str, Any]:
    """Return what is known of the embedded network: data, accuracy, digest."""
    text = (EMBEDDED_FOLDER / f"{EMBEDDED}.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)
