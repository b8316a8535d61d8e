"""torch-fidelity itself: FID, KID and IS of two folders of files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sfbench.hardware.devices import find_backend

PROTOCOL = "torch-fidelity-0.4"
DISTRIBUTION = "torch-fidelity"
SPLITS = 10
"""Of its Inception Score."""
FEWEST_KERNEL = 1000
"""Below it the package refuses to compute a KID."""


def values(
    generated: Path, real: Path, weights: Path, batch: int, device: str
) -> Mapping[str, float]:
    """Return the package's numbers by measure. `weights`: tensors under its own names."""
    from torch_fidelity import calculate_metrics  # slow

    files = [list(folder.iterdir()) for folder in (generated, real)]
    count = min(map(len, files))
    # By default it looks for PNG and JPEG files alone, and says nothing of others.
    suffixes = {path.suffix.removeprefix(".") for folder in files for path in folder}
    found: Mapping[str, Any] = calculate_metrics(
        input1=str(generated),
        input2=str(real),
        feature_extractor_weights_path=str(weights),
        fid=True,
        isc=len(files[0]) >= SPLITS,
        kid=count >= FEWEST_KERNEL,
        samples_find_ext=",".join(sorted(suffixes)),
        batch_size=batch,
        cuda=not find_backend(device).is_host,
        cache=False,
        verbose=False,
    )
    names = {
        "frechet_inception_distance": "frechet",
        "kernel_inception_distance_mean": "kernel",
        "inception_score_mean": "score",
    }
    return {names[name]: float(value) for name, value in found.items() if name in names}
