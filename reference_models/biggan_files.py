"""BigGAN's weights as files: the sizes that a state dict of the authors' code stands for.

The folder of a training run of theirs also has `state_dict.pth`, whose pickle holds code; it is not
needed: everything but two epsilons is in the shapes.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from reference_models.biggan_config import INPUTS, START_SIDE, BigGANConfig, by_resolution

ODD_COUNTS = {3: (32, 1), 9: (32, 3)}
"""BigGAN-deep's numbers of blocks whose depth is not two: resolution and depth."""


def is_biggan(tensors: Mapping[str, Tensor]) -> bool:
    """Return whether tensors have the names of BigGAN's generator."""
    return {"linear.weight", "blocks.0.0.conv1.weight", "blocks.0.0.bn1.gain.weight"} <= {*tensors}


def config_of(
    tensors: Mapping[str, Tensor],
    *,
    norm_eps: float | None = None,
    spectral_eps: float | None = None,
) -> BigGANConfig:
    """Return the sizes of a state dict; raises ValueError for one that is not BigGAN's.

    No shape says the epsilons: by default they are those of the published sizes of the resolution.
    """
    if not is_biggan(tensors):
        msg = "it has not the tensors of BigGAN's generator"
        raise ValueError(msg)
    deep = "blocks.0.0.conv4.weight" in tensors
    blocks = 1 + max(int(name.split(".")[1]) for name in tensors if name.startswith("blocks."))
    resolution, depth = sizes_of(blocks, deep=deep)
    rows, first = tensors["linear.weight"].shape
    base, rest = divmod(rows, START_SIDE**2 * INPUTS[resolution][0])
    if rest:
        msg = (
            f"linear.weight has {rows} rows: no multiple of {START_SIDE**2 * INPUTS[resolution][0]}"
        )
        raise ValueError(msg)
    gain = tensors["blocks.0.0.bn1.gain.weight"].shape
    shared = tensors.get("shared.weight")
    shared_dim = None if shared is None else int(shared.shape[1])
    extra = 0 if shared_dim is None else int(gain[1]) - shared_dim
    stages = len(INPUTS[resolution])
    z_dim = int(first) - (shared_dim or 0) if deep else int(first)
    if extra and not deep:
        z_dim = extra * (stages + 1)
    per_stage = depth if deep else 1
    attended = (
        2 * START_SIDE << stage
        for stage in range(stages)
        if f"blocks.{(stage + 1) * per_stage - 1}.1.gamma" in tensors
    )
    published = by_resolution(resolution, deep=deep)
    return BigGANConfig(
        resolution=resolution,
        channels=base,
        z_dim=z_dim,
        classes=int(gain[0] if shared is None else shared.shape[0]),
        deep=deep,
        hierarchical=deep or bool(extra),
        shared_dim=shared_dim,
        attention=tuple(attended),
        spectral="linear.u0" in tensors,
        singular_values=max(1, sum(f"linear.u{n}" in tensors for n in range(len(tensors)))),
        own_norm="output_layer.0.bn.stored_mean" in tensors,
        norm_eps=published.norm_eps if norm_eps is None else norm_eps,
        spectral_eps=published.spectral_eps if spectral_eps is None else spectral_eps,
        depth=depth if deep else 2,
    )


def sizes_of(blocks: int, *, deep: bool) -> tuple[int, int]:
    """Return resolution and depth of a number of blocks; raises ValueError for an impossible one."""
    if deep and blocks in ODD_COUNTS:
        return ODD_COUNTS[blocks]
    stages, rest = divmod(blocks, 2) if deep else (blocks, 0)
    resolution = START_SIDE << stages
    if rest or resolution not in INPUTS:
        msg = f"{blocks} blocks: no published network has so many"
        raise ValueError(msg)
    return resolution, 2


def with_own_norms(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of a network without own norms as those of one that has them."""
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        head, _, last = name.rpartition(".")
        if last in {"stored_mean", "stored_var"} and not head.endswith(".bn"):
            found[f"{head}.bn.{last}"] = tensor
            found[f"{head}.bn.accumulation_counter"] = torch.zeros(1)
        else:
            found[name] = tensor
    return found


def completed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors with the singular values that only logs need, where ports leave them out."""
    found = dict(tensors)
    for name in tensors:
        head, _, last = name.rpartition(".")
        if last.startswith("u") and last[1:].isdecimal():
            found.setdefault(f"{head}.sv{last[1:]}", torch.ones(1))
    return found
