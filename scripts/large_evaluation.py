"""Time and peak memory of one large evaluation with features of Inception's shapes.

    python scripts/large_evaluation.py [--images 50000] [--real 10000]

Everything is as with Inception-v3 but the network itself, which here is one fixed random product:
2,048 features, 1,008 logits and 2,023 spatial features an image. Two calls: the first computes the
features of the real images, the second finds them in the store.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

PLUGIN = '''
import torch

from sfbench.api import ExtractorSpec, Features, hookimpl

SHAPES = {"pooled": 2048, "logits": 1008, "spatial": 2023}


class Shaped:
    """A fixed random product with the shapes of Inception-v3."""

    name, standard, side, resize = "inception-shaped", False, 32, "none"
    identity = {"name": name, "weights_sha256": None, "features": SHAPES}

    def __init__(self):
        source = torch.Generator().manual_seed(0)
        self.weights = torch.randn(3 * 32 * 32, sum(SHAPES.values()), generator=source) / 4000

    def __call__(self, images):
        made = (images.flatten(1) @ self.weights).split([*SHAPES.values()], dim=1)
        return Features(*(part.contiguous() for part in made))


@hookimpl
def sfbench_extractors():
    return [ExtractorSpec(name=Shaped.name, summary="random", build=lambda request: Shaped())]
'''
GIB = 1 << 30


def images(count: int, seed: int) -> np.ndarray:
    """Return random images, uint8 [count, 32, 32, 3]: enough dimensions for every feature."""
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


def main() -> int:
    """Print one line per call: seconds, peak memory, metrics."""
    parser = argparse.ArgumentParser(description="One large evaluation.")
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--real", type=int, default=10_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "shaped.py").write_text(PLUGIN)
        for name, count, seed in (("made", given.images, 0), ("real", given.real, 1)):
            np.save(folder / f"{name}.npy", images(count, seed))
        command = [sys.executable, "-m", "sfbench", "quality", "--json"]
        command += ["--images", "made.npy", "--reference", "real.npy"]
        command += ["--plugin", "shaped.py", "--extractor", "inception-shaped"]
        for call in ("first", "second"):
            start = time.perf_counter()
            done = subprocess.run(  # noqa: S603  # this program
                command,
                cwd=folder,
                env=os.environ | {"XDG_CACHE_HOME": str(folder / "cache")},
                stdout=subprocess.PIPE,
                check=True,
            )
            seconds = time.perf_counter() - start
            # The largest of the processes that ended so far; in KiB.
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
            found = [one for one in json.loads(done.stdout) if one["value"] is not None]
            print(f"{call} call: {seconds:.0f} s, peak {peak / GIB:.2f} GiB, {len(found)} numbers")
    return 0


if __name__ == "__main__":
    sys.exit(main())
