"""A function as a generator: one that returns a module, or one that makes images of seeds."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from sfbench.api import BuildRequest, ImageGenerator, OutputForm, UnsupportedError, UsageError
from sfbench.api.errors import first_line
from sfbench.api.images import to_rgb
from sfbench.api.output_form import FEWEST
from sfbench.api.spec import check_size
from sfbench_python.code import named
from sfbench_python.modules import of_module

SEEDS, FILE = "seeds", "file"
OFFERED = ("resolution", "device", "seed")
"""What a function is given if it has parameters of these names."""


def from_function(request: BuildRequest) -> ImageGenerator:
    """Return the generator that a function stands for.

    A function with the parameter `seeds` makes images: it is called with the seeds of a batch and
    returns a tensor, an array, or a list of PIL images. Any other is called once: it returns a
    torch module, or an ImageGenerator. Raises UsageError for anything else.
    """
    function, where = named(request, "function"), str(request.options["function"])
    try:
        taken = inspect.signature(function).parameters
    except (TypeError, ValueError) as error:
        msg = f"{where}: not a function ({first_line(error)})"
        raise UsageError(msg) from None
    offered = {name: getattr(request, name) for name in OFFERED if name in taken}
    if FILE in taken and request.options[FILE]:
        offered[FILE] = str(request.options[FILE])
    elif request.options[FILE]:
        msg = f"{where}: has no parameter `file` for --option file={request.options[FILE]}"
        raise UsageError(msg)
    needed = {n for n, one in taken.items() if one.default is one.empty} - {SEEDS, *offered}
    needed -= {n for n, one in taken.items() if one.kind in {one.VAR_KEYWORD, one.VAR_POSITIONAL}}
    if needed:
        msg = f"{where}: needs {min(needed)}; expected parameters among seeds, {', '.join(OFFERED)}"
        raise UsageError(msg)
    if SEEDS in taken:
        return FunctionGenerator(lambda seeds: function(seeds=seeds, **offered), request, where)
    made = function(**offered)
    if isinstance(made, nn.Module):
        return of_module(made, request, where, {"format": "torch module", "function": where})
    if isinstance(made, ImageGenerator):
        return made
    msg = f"{where}: returned a {type(made).__name__}; expected a torch module or an ImageGenerator"
    raise UsageError(msg)


class FunctionGenerator:
    """Calls a function with the seeds of a batch, and converts what it returns."""

    def __init__(
        self, function: Callable[[list[int]], Any], request: BuildRequest, where: str
    ) -> None:
        self.function = function
        self.resolution = request.resolution
        self.device = torch.device(request.device)
        if self.device.type == torch.device("meta").type:
            msg = "a function is called as a whole, which torch cannot do on the meta device"
            raise UnsupportedError(msg)
        first = function(list(range(FEWEST)))
        raw, returned = tensor_of(first)
        options = request.options
        form = OutputForm.of(raw, str(options["range"] or ""), str(options["layout"] or ""))
        check_size(where, form.height, form.width, request)
        self.form = form
        self.architecture = {
            "format": "function of seeds",
            "function": where,
            "returned": returned,
            "output": {"range": form.range, "layout": form.layout, "channels": form.channels},
            "converted in each call": form.converted,
        }

    def draw_latents(self, seeds: Sequence[int]) -> list[int]:
        """Return the seeds: the function draws by itself."""
        return list(seeds)

    def synthesize(self, latents: list[int]) -> Tensor:
        """Return images [batch, channels, height, width] in [-1, 1]."""
        return self.form.images(tensor_of(self.function(latents))[0].to(self.device))


def array_of(image: Any) -> np.ndarray:
    """Return one image's pixels; PIL images of other modes become RGB, as when files are read."""
    if isinstance(image, Image.Image) and image.mode not in {"L", "RGB"}:
        image, _ = to_rgb(image)
    return np.array(image)


def tensor_of(found: Any) -> tuple[Tensor, str]:
    """Return images as one tensor, and what they were; raises UnsupportedError for no images."""
    if isinstance(found, Tensor):
        return found, "tensor"
    if isinstance(found, np.ndarray):
        return torch.from_numpy(np.ascontiguousarray(found)), "NumPy array"
    if isinstance(found, list | tuple) and found:
        first = found[0]
        if isinstance(first, Tensor):
            return torch.stack(list(found)), "list of tensors"
        arrays = [array_of(one) for one in found]
        if all(one.ndim in {2, 3} and one.shape == arrays[0].shape for one in arrays):
            stacked = np.stack([one[..., None] if one.ndim == 2 else one for one in arrays])  # noqa: PLR2004  # gray
            return torch.from_numpy(stacked), f"list of {type(first).__name__}"
    msg = f"it returned a {type(found).__name__}; expected a tensor, an array, or a list of PIL images"
    raise UnsupportedError(msg)
