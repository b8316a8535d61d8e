"""A TorchScript archive as an ImageGenerator: a program, which is run."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from sfbench.api import BuildRequest, GraphGenerator, UnsupportedError, WeightsError
from sfbench.api.errors import first_line
from sfbench.api.graph_inputs import unshaped_inputs
from sfbench.api.precision import INT8


def torchscript(request: BuildRequest) -> GraphGenerator:
    """Return the generator of the option `file`; its archive does not say shapes: options must.

    Raises WeightsError for what is no TorchScript archive.
    """
    path = Path(str(request.options["file"]))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            module = torch.jit.load(path, map_location=request.device)  # type: ignore[no-untyped-call]
    except Exception as error:  # noqa: BLE001  # its reader raises anything
        msg = f"{path}: not a TorchScript archive, or a damaged one ({first_line(error)})"
        raise WeightsError(msg) from None
    if request.dtype == INT8:
        msg = f"{path.name}: int8 is for torch modules; quantize before scripting"
        raise UnsupportedError(msg)
    module.eval()
    for parameter in module.parameters():
        parameter.requires_grad_(requires_grad=False)
    module.to(getattr(torch, request.dtype))
    names = [one.name for one in module.forward.schema.arguments[1:] if not one.has_default_value()]
    inputs = unshaped_inputs(names, request.options, request.dtype)

    def run(given: Mapping[str, Tensor]) -> Tensor:
        found = module(*(given[name] for name in names))
        first = found[0] if isinstance(found, tuple | list) else found
        if not isinstance(first, Tensor):
            msg = f"{path.name}: its output is a {type(first).__name__}; expected a tensor"
            raise UnsupportedError(msg)
        return first

    return GraphGenerator(
        run,
        inputs,
        request,
        where=path.name,
        module=module,
        architecture={"format": "TorchScript"},
    )
