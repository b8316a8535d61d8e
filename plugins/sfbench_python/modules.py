"""A torch module of unknown shapes as an ImageGenerator: inputs by the names of its arguments."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from sfbench.api import BuildRequest, GraphGenerator, UnsupportedError
from sfbench.api.graph_inputs import unshaped_inputs
from sfbench.api.precision import compute_dtype, placed

WIDTHS = ("z_dim", "latent_dim", "latent_size", "nz")
"""Attributes by which modules tell the length of z."""
CLASSES = ("c_dim", "num_classes", "n_classes")


def of_module(
    module: nn.Module, request: BuildRequest, where: str, architecture: Mapping[str, Any]
) -> GraphGenerator:
    """Return the generator of a module that takes z, and labels and noise where it names them."""
    module.eval()
    module.requires_grad_(requires_grad=False)
    module = placed(module, request)
    parameters = list(inspect.signature(module.forward).parameters.values())
    names = [
        one.name
        for one in parameters
        if one.default is one.empty and one.kind in {one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD}
    ]
    request = completed(module, request)

    def run(inputs: Mapping[str, Tensor]) -> Tensor:
        return tensor_of(module(*(inputs[name] for name in names)), where)

    inputs = unshaped_inputs(names, request.options, compute_dtype(request))
    return GraphGenerator(
        run, inputs, request, where=where, module=module, architecture=architecture
    )


def completed(module: nn.Module, request: BuildRequest) -> BuildRequest:
    """Return the request with what the module says of its inputs and the user did not."""
    options = dict(request.options)
    width = next((getattr(module, name) for name in WIDTHS if hasattr(module, name)), None)
    classes = next((getattr(module, name) for name in CLASSES if hasattr(module, name)), None)
    if options["latent_shape"] is None and isinstance(width, int):
        options["latent_shape"] = (width,)
    if not options["classes"] and isinstance(classes, int):
        options["classes"] = classes
    return dataclasses.replace(request, options=options)


def tensor_of(found: Any, where: str) -> Tensor:
    """Return the images of an output: a tensor, the first of several, or `.sample` or `.images`."""
    if isinstance(found, tuple | list) and found:
        found = found[0]
    for name in ("sample", "images"):
        with contextlib.suppress(AttributeError):
            found = getattr(found, name)
    if not isinstance(found, Tensor):
        msg = f"{where}: its output is a {type(found).__name__}; expected a tensor of images"
        raise UnsupportedError(msg)
    return found
