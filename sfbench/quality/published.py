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
VGG16 = "vgg16"
PACKETS = "haar-packets"
SPECTRUM = "power-spectrum"
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


VGG16_FILE = WeightsFile(
    name="vgg16-397923af.pth",
    url="https://download.pytorch.org/models/vgg16-397923af.pth",
    sha256="397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
)
LPIPS_FILE = WeightsFile(
    name="lpips-0.1-vgg.pth",
    url=(
        "https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/master/lpips/weights/v0.1/"
        "vgg.pth"
    ),
    size=7289,
    sha256="a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
)
"""The linear layers of the package lpips, which it carries itself."""


def embedded_card() -> Mapping[str, Any]:
    """Return what is known of the embedded network: data, accuracy, digest."""
    text = (EMBEDDED_FOLDER / f"{EMBEDDED}.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)
