"""An onnxruntime session as an ImageGenerator, with torch tensors bound in place."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor

from sfbench.api import (
    BuildRequest,
    GraphGenerator,
    ModelSize,
    UnsupportedError,
    WeightsError,
)
from sfbench.api.errors import first_line
from sfbench.api.precision import check_held
from sfbench_onnx.graph import Graph, read_graph

NUMBERED = {"CUDAExecutionProvider": ("device_id",)}
"""Providers of devices of which there may be several, with the option that takes the number."""
ELEMENTS: Mapping[torch.dtype, Any] = {
    torch.float32: np.float32,
    torch.float16: np.float16,
    torch.float64: np.float64,
    torch.int64: np.int64,
    torch.int32: np.int32,
    torch.int8: np.int8,
    torch.uint8: np.uint8,
    torch.bool: np.bool_,
}
TORCH_TYPES = {
    "tensor(float)": torch.float32,
    "tensor(float16)": torch.float16,
    "tensor(double)": torch.float64,
    "tensor(uint8)": torch.uint8,
}
ONLY_ERRORS = 3
"""Of onnxruntime's levels of logging."""


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """What is bound for a number of images: name, type and shape of inputs, shape of the output."""

    inputs: tuple[tuple[str, Any, list[int]], ...]
    output: list[int]


class Session:
    """Runs a graph on tensors where they are: inputs and the output are bound, not copied."""

    def __init__(self, path: Path, graph: Graph, device: str) -> None:
        self.device = torch.device(device)
        self.provider = f"{self.device.type.upper()}ExecutionProvider"
        there = onnxruntime.get_available_providers()
        if self.provider not in there:
            msg = f"onnxruntime has no provider for {device} here; it has {', '.join(there)}"
            raise UnsupportedError(msg)
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = torch.get_num_threads()
        settings.inter_op_num_threads = 1
        settings.log_severity_level = ONLY_ERRORS
        index = self.device.index or 0
        choice = (self.provider, dict.fromkeys(NUMBERED.get(self.provider, ()), index))
        try:
            self.session = onnxruntime.InferenceSession(path, settings, providers=[choice])
        except Exception as error:  # noqa: BLE001  # its classes have no common base of their own
            msg = f"{path}: onnxruntime does not load it ({first_line(error)})"
            raise WeightsError(msg) from None
        self.path = path
        self.output = graph.output
        kind = next(one.type for one in self.session.get_outputs() if one.name == graph.output)
        if kind not in TORCH_TYPES:
            msg = f"{path}: its output is {kind}; expected images as {', '.join(TORCH_TYPES)}"
            raise UnsupportedError(msg)
        self.output_type = TORCH_TYPES[kind]
        self.element = ELEMENTS[self.output_type]
        self.binding = self.session.io_binding()
        self.place = (self.device.type, self.device.index or 0)
        self.plans: dict[int, Plan] = {}

    def __call__(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return the output for inputs on the session's device, all of one number of images.

        The shape of the output is learned in the first call of a number, which copies it.
        """
        count = next(iter(inputs.values())).shape[0]
        plan = self.plans.get(count)
        if plan is None:
            return self.first(inputs, count)
        binding, place = self.binding, self.place
        held = []
        for (name, element, shape), tensor in zip(plan.inputs, inputs.values(), strict=True):
            # Kept until the call is over: the binding holds its address only.
            one = tensor.contiguous()
            held.append(one)
            binding.bind_input(name, *place, element, shape, one.data_ptr())
        images = torch.empty(plan.output, dtype=self.output_type, device=self.device)
        binding.bind_output(self.output, *place, self.element, plan.output, images.data_ptr())
        self.session.run_with_iobinding(binding)
        return images

    def first(self, inputs: Mapping[str, Tensor], count: int) -> Tensor:
        """Return the output of the first call with that many images, and note the shapes."""
        given = {name: tensor.cpu().numpy() for name, tensor in inputs.items()}
        try:
            (found,) = self.session.run([self.output], given)
        except Exception as error:  # noqa: BLE001  # its classes have no common base of their own
            msg = f"{self.path}: onnxruntime cannot run it ({first_line(error)})"
            raise UnsupportedError(msg) from None
        self.plans[count] = Plan(
            tuple(
                (name, ELEMENTS[tensor.dtype], list(tensor.shape))
                for name, tensor in inputs.items()
            ),
            list(found.shape),
        )
        return torch.from_numpy(found).to(self.device)


class OnnxGenerator(GraphGenerator):
    """A graph that onnxruntime computes; `model_size` is counted in the file."""

    runtime: str
    model_size: ModelSize


def generator(request: BuildRequest) -> OnnxGenerator:
    """Return the generator of the option `file`.

    Raises UnsupportedError for another precision than the file's, and on the meta device.
    """
    path = Path(str(request.options["file"]))
    runtime = f"onnxruntime {onnxruntime.__version__}"
    if request.device == "meta":
        msg = f"{runtime} computes the graph, in which torch counts no operations"
        raise UnsupportedError(msg)
    graph = read_graph(path, str(request.options["output"] or ""))
    check_held(path.name, graph.precision, request)
    session = Session(path, graph, request.device)
    made = OnnxGenerator(
        session,
        graph.inputs,
        request,
        where=path.name,
        architecture={
            "format": f"ONNX, opset {graph.opset}",
            "producer": graph.producer,
            "runtime": runtime,
            "provider": session.provider,
            "threads": torch.get_num_threads(),
            "outputs": graph.outputs,
        },
    )
    made.runtime, made.model_size = runtime, graph.size
    return made
