"""Names of Inception-v3's tensors: TensorFlow's, as in TorchScript files, and torch-fidelity's.

The TensorFlow graph names a convolution by its place (`mixed_3/tower/conv_1`); torch-fidelity, like
torchvision, by its shape (`Mixed_6a.branch3x3dbl_2`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from sfbench.api.errors import WeightsError

PREFIX = "layers."
STEM = {
    "conv": "Conv2d_1a_3x3",
    "conv_1": "Conv2d_2a_3x3",
    "conv_2": "Conv2d_2b_3x3",
    "conv_3": "Conv2d_3b_1x1",
    "conv_4": "Conv2d_4a_3x3",
}
BLOCK_A = {
    "conv": "branch1x1",
    "tower.conv": "branch5x5_1",
    "tower.conv_1": "branch5x5_2",
    "tower_1.conv": "branch3x3dbl_1",
    "tower_1.conv_1": "branch3x3dbl_2",
    "tower_1.conv_2": "branch3x3dbl_3",
    "tower_2.conv": "branch_pool",
}
BLOCK_B = {
    "conv": "branch3x3",
    "tower.conv": "branch3x3dbl_1",
    "tower.conv_1": "branch3x3dbl_2",
    "tower.conv_2": "branch3x3dbl_3",
}
BLOCK_C = {
    "conv": "branch1x1",
    "tower.conv": "branch7x7_1",
    "tower.conv_1": "branch7x7_2",
    "tower.conv_2": "branch7x7_3",
    "tower_1.conv": "branch7x7dbl_1",
    "tower_1.conv_1": "branch7x7dbl_2",
    "tower_1.conv_2": "branch7x7dbl_3",
    "tower_1.conv_3": "branch7x7dbl_4",
    "tower_1.conv_4": "branch7x7dbl_5",
    "tower_2.conv": "branch_pool",
}
BLOCK_D = {
    "tower.conv": "branch3x3_1",
    "tower.conv_1": "branch3x3_2",
    "tower_1.conv": "branch7x7x3_1",
    "tower_1.conv_1": "branch7x7x3_2",
    "tower_1.conv_2": "branch7x7x3_3",
    "tower_1.conv_3": "branch7x7x3_4",
}
BLOCK_E = {
    "conv": "branch1x1",
    "tower_conv": "branch3x3_1",
    "tower_mixed_conv": "branch3x3_2a",
    "tower_mixed_conv_1": "branch3x3_2b",
    "tower_1_conv": "branch3x3dbl_1",
    "tower_1_conv_1": "branch3x3dbl_2",
    "tower_1_mixed_conv": "branch3x3dbl_3a",
    "tower_1_mixed_conv_1": "branch3x3dbl_3b",
    "tower_2_conv": "branch_pool",
}
BLOCKS = {
    "mixed": ("Mixed_5b", BLOCK_A),
    "mixed_1": ("Mixed_5c", BLOCK_A),
    "mixed_2": ("Mixed_5d", BLOCK_A),
    "mixed_3": ("Mixed_6a", BLOCK_B),
    "mixed_4": ("Mixed_6b", BLOCK_C),
    "mixed_5": ("Mixed_6c", BLOCK_C),
    "mixed_6": ("Mixed_6d", BLOCK_C),
    "mixed_7": ("Mixed_6e", BLOCK_C),
    "mixed_8": ("Mixed_7a", BLOCK_D),
    "mixed_9": ("Mixed_7b", BLOCK_E),
    "mixed_10": ("Mixed_7c", BLOCK_E),
}
ROLES = {
    "running_mean": ("mean",),
    "running_var": ("var",),
    "bias": ("beta", "bias"),
    "weight": ("gamma", "scale", "weight"),
}
CONVOLUTION_NDIM = 4


def convolutions() -> Iterator[tuple[str, str]]:
    """Yield the 94 convolutions: TorchScript name, torch-fidelity name."""
    yield from STEM.items()
    for block, (name, inner) in BLOCKS.items():
        for theirs, ours in inner.items():
            yield f"{block}.{theirs}", f"{name}.{ours}"


def in_torch_fidelity_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state under torch-fidelity's names; unchanged if it has them already.

    Raises WeightsError naming what is missing from a TorchScript layout.
    """
    if not any(name.startswith(PREFIX) for name in state):
        return dict(state)
    renamed: dict[str, Tensor] = {}
    for theirs, ours in convolutions():
        start = f"{PREFIX}{theirs}."
        # A direct child's tensors, or those of its own conv and bn; never those of a sibling.
        tensors = {
            name.removeprefix(start): t for name, t in state.items() if name.startswith(start)
        }
        renamed |= {f"{ours}.{name}": tensor for name, tensor in by_role(theirs, tensors).items()}
    for role in ("weight", "bias"):
        if f"output.{role}" not in state:
            msg = f"TorchScript Inception: no tensor output.{role}; is this the 2015 network?"
            raise WeightsError(msg)
        renamed[f"fc.{role}"] = state[f"output.{role}"]
    return renamed


def by_role(place: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a convolution's weight and its normalization's four vectors; a missing scale is 1."""
    kernels = [t for t in tensors.values() if t.ndim == CONVOLUTION_NDIM]
    if len(kernels) != 1:
        msg = f"TorchScript Inception: {len(kernels)} kernels at {place}; expected 1"
        raise WeightsError(msg)
    found = {"conv.weight": kernels[0]}
    for role, words in ROLES.items():
        vectors = [
            t
            for name, t in tensors.items()
            if t.ndim == 1 and any(word in name.rpartition(".")[2] for word in words)
        ]
        if len(vectors) > 1 or (not vectors and role != "weight"):
            msg = f"TorchScript Inception: {len(vectors)} tensors for {role} at {place}; expected 1"
            raise WeightsError(msg)
        found[f"bn.{role}"] = vectors[0] if vectors else torch.ones(len(kernels[0]))
    found["bn.num_batches_tracked"] = torch.tensor(0)
    return found
