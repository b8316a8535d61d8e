"""The step that finds weights which a plugin loaded by itself."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib

from sfbench.generators.building import build
from sfbench.trial.state import Trial


def has_random_weights(trial: Trial) -> bool:
    """Return whether nothing was given from which the weights could come, but the seed."""
    return trial.case.weights.kind == "random" and trial.untimed is None


def find_loaded_weights(trial: Trial) -> None:
    """Record the digest of weights that do not depend on the seed: the plugin has loaded them.

    The model is built once more, with another seed, after everything was measured.
    """
    from sfbench.generators import contract  # torch comes with it

    module = contract.module_of(trial.generator)
    if module is None:
        return
    other = dataclasses.replace(trial.case, seed=trial.case.seed + 1)
    again = None
    with contextlib.suppress(Exception):  # no number depends on it, whatever a plugin raises
        again = contract.module_of(build(trial.spec, other, "cpu"))
    if again is None:
        return
    found = digest_of(module)
    if found == digest_of(again):
        trial.provenance["weights_loaded_by_plugin"] = found


def digest_of(module: object) -> str:
    """Return the SHA-256 of the names, types and values of a module's parameters."""
    from torch import nn, uint8

    assert isinstance(module, nn.Module)  # noqa: S101  # torch is imported here alone
    hashed = hashlib.sha256()
    for name, tensor in module.named_parameters():
        hashed.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        hashed.update(tensor.detach().cpu().contiguous().view(-1).view(uint8).numpy().tobytes())
    return hashed.hexdigest()
