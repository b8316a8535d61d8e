"""Reading weights of published networks as plain tensors; nothing in the file is executed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfbench.api.errors import WeightsError, first_line
from sfbench.api.torch_files import is_torch_file, read_torch_file

if TYPE_CHECKING:
    from torch import Tensor


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a .safetensors file, a state dict (.pth, .pt) or a TorchScript archive.

    A state dict may be nested under "model" or "state_dict". Raises WeightsError in one line for
    anything else, including a pickle that contains code.
    """
    if not path.is_file():
        msg = f"{path}: no such file; expected weights (.safetensors, .pth or .pt)"
        raise WeightsError(msg)
    try:
        found = load(path)
    except Exception as error:  # noqa: BLE001  # loading a stranger's file can raise anything
        msg = f"{path}: cannot be read as weights ({first_line(error)})"
        raise WeightsError(msg) from None
    for name in ("model", "state_dict"):
        inner = found.get(name)
        if isinstance(inner, Mapping):
            found = inner
    tensors = {str(name): value for name, value in found.items() if hasattr(value, "detach")}
    if not tensors:
        msg = f"{path}: contains no named tensors; expected a state dict"
        raise WeightsError(msg)
    return tensors


def load(path: Path) -> Mapping[str, Any]:
    """Return the file's content, according to its format."""
    if path.suffix == ".safetensors" or not is_torch_file(path):
        from safetensors.torch import load_file  # torch comes with it

        return load_file(path)
    document = read_torch_file(path)
    if not isinstance(document, Mapping):
        msg = f"it holds a {type(document).__name__}; expected a state dict"
        raise WeightsError(msg)
    return document
