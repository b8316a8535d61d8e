"""A module put on a device in the precision that was asked for; int8 by quantizing its layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sfbench.api.errors import UnsupportedError
from sfbench.api.spec import BuildRequest

if TYPE_CHECKING:
    from torch import nn

PRECISIONS = {
    "float32": "fp32",
    "float16": "fp16",
    "bfloat16": "bf16",
    "float64": "fp64",
    "qint8": "int8",
}
"""What `--dtype` calls torch's types."""
INT8 = "qint8"
"""A request's dtype for linear layers with 8-bit weights and activations quantized as they come."""


def compute_dtype(request: BuildRequest) -> str:
    """Return torch's name of the type in which latents and everything not quantized are."""
    return "float32" if request.dtype == INT8 else request.dtype


def check_held(where: str, holds: str, request: BuildRequest) -> None:
    """Raise UnsupportedError where a file holds weights of another type than was asked for."""
    if holds != request.dtype:
        has, asked = (PRECISIONS.get(one, one) for one in (holds, request.dtype))
        msg = f"{where} holds {has} weights: use --dtype {has}, not {asked}"
        raise UnsupportedError(msg)


def placed(module: nn.Module, request: BuildRequest) -> nn.Module:
    """Return the module on the request's device, in its precision.

    int8: weights of `nn.Linear` as 8-bit numbers, a scale per output; activations quantized in each
    call, a scale per row (torchao's Int8DynamicActivationInt8WeightConfig). Raises UnsupportedError
    for a module without such layers, or where torchao is not installed.
    """
    import torch  # sfbench.api must not import torch when imported

    module = module.to(request.device, getattr(torch, compute_dtype(request)))
    if request.dtype != INT8 or request.device == "meta":
        return module
    if not any(isinstance(one, torch.nn.Linear) for one in module.modules()):
        msg = "int8: the model has no torch.nn.Linear layer to quantize"
        raise UnsupportedError(msg)
    try:
        from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_
    except ImportError:
        msg = "int8 needs the package torchao: pip install 'sfbench[int8]'"
        raise UnsupportedError(msg) from None
    quantize_(module, Int8DynamicActivationInt8WeightConfig())
    return module
