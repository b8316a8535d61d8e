"""clean-fid itself: FID and KID of two folders of files, mode clean.

Its file reading, resizing, loop and arithmetic. The network is given: the one that it would download
is TorchScript, which is code.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

PROTOCOL = "clean-fid-0.1"
DISTRIBUTION = "clean-fid"
SEED = 0


def values(
    generated: Path, real: Path, weights: Path, batch: int, device: str
) -> Mapping[str, float]:
    """Return the package's numbers by measure. `weights`: tensors under torch-fidelity's names."""
    import numpy as np
    import torch
    from cleanfid import fid
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    from sfbench.quality.inception import STAGES

    network = FeatureExtractorInceptionV3(
        "inception", ["2048"], feature_extractor_weights_path=str(weights)
    )
    network = network.eval().to(device)

    def features(images: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            x = (images.to(device) - 128) / 128
            for stage in STAGES:
                x = getattr(network, stage)(x)
            return x.flatten(1)

    rows = [
        fid.get_folder_features(
            str(folder),
            features,
            num_workers=0,
            batch_size=batch,
            device=torch.device(device),
            mode="clean",
            verbose=False,
        )
        for folder in (generated, real)
    ]
    found = {"frechet": float(fid.fid_from_feats(*rows))}
    np.random.seed(SEED)  # noqa: NPY002  # the state that it draws from
    found["kernel"] = fid.kernel_distance(rows[1], rows[0])
    return found
