"""Image files for tests."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from PIL import Image


def images(path: Path, seed: int) -> None:
    """Write a zip of 40 pictures of colored noise."""
    noise = np.random.default_rng(seed)
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(40):
            picture = noise.integers(0, 255, (32, 32, 3), dtype=np.uint8)
            target = path.with_suffix(".png")
            Image.fromarray(picture).save(target)
            archive.write(target, f"{number % 2}/{number}.png")
