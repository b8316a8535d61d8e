"""Models with kernels of their own, for plugins with an option that chooses them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from sfbench.api.errors import UnsupportedError, UsageError
from sfbench.api.spec import BuildRequest, LearnRequest

if TYPE_CHECKING:
    from torch import nn

CHOICE = "option kernels=native"


def use_own_kernels(module: nn.Module, use: Callable[[nn.Module], None]) -> None:
    """Let `use` switch a module to kernels for fp32 on a CPU; it raises RuntimeError if it cannot.

    Raises UnsupportedError where they cannot be used: `use` says so, or they are for another device
    or precision. On the meta device, where operations are counted, nothing changes.
    """
    weights = next(module.parameters())
    if weights.is_meta:
        return
    if not weights.is_cpu or str(weights.dtype) != "torch.float32":
        found = f"{weights.dtype} on {weights.device.type}"
        msg = f"{CHOICE}: they compute in float32 on a CPU, not in {found}"
        raise UnsupportedError(msg)
    try:
        use(module)
    except RuntimeError as error:
        msg = f"{CHOICE}: {error}"
        raise UnsupportedError(msg) from None
    module.compile = refuse_compiling  # type: ignore[method-assign]  # else it would drop the kernels


def refuse_compiling(**_how: object) -> NoReturn:
    """Raise UnsupportedError."""
    msg = f"{CHOICE}: torch.compile cannot compile them; use --mode eager"
    raise UnsupportedError(msg)


def check_training(request: LearnRequest) -> None:
    """Raise UsageError for training that kernels for fp32 cannot do, before anything is built."""
    if request.compiled or request.autocast is not None:
        found = "--mode compile" if request.compiled else f"--dtype {request.autocast}"
        msg = f"{CHOICE}: they train in eager mode and fp32; found {found}"
        raise UsageError(msg)


def train_with_own_kernels(use: Callable[..., None], *modules: nn.Module) -> None:
    """Let `use` switch the modules that are trained; it raises RuntimeError if it cannot.

    Raises UsageError where they cannot be used.
    """
    elsewhere = [one for module in modules for one in module.parameters() if not one.is_cpu]
    if elsewhere:
        msg = f"{CHOICE}: they train on a CPU, not on {elsewhere[0].device.type}"
        raise UsageError(msg)
    try:
        use(*modules)
    except RuntimeError as error:
        msg = f"{CHOICE}: {error}"
        raise UsageError(msg) from None


def without_own_kernels(request: BuildRequest) -> BuildRequest:
    """Return the request for the same generator by torch's operations, which compute any."""
    return dataclasses.replace(request, options={**request.options, "kernels": "torch"})
