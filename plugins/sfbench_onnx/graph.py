"""What an ONNX file says of itself, read without running it; refusals of what cannot be run safely."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto

from sfbench.api import GraphInput, ModelSize, WeightsError
from sfbench.api.errors import first_line

DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft", "com.ms.internal.nhwc"})
"""Operators that onnxruntime brings; of other domains, only functions in the file itself."""
QUANTIZED = frozenset(
    {
        "ConvInteger", "DequantizeLinear", "DynamicQuantizeLinear", "DynamicQuantizeLSTM",
        "DynamicQuantizeMatMul", "MatMulInteger", "MatMulIntegerToFloat", "MatMulNBits",
        "QAttention", "QGemm", "QLinearConv", "QLinearMatMul", "QuantizeLinear",
    }
)  # fmt: skip
TYPES = {
    TensorProto.FLOAT: "float32",
    TensorProto.DOUBLE: "float64",
    TensorProto.FLOAT16: "float16",
    TensorProto.BFLOAT16: "bfloat16",
    TensorProto.INT64: "int64",
    TensorProto.INT32: "int32",
    TensorProto.UINT8: "uint8",
    TensorProto.INT8: "int8",
    TensorProto.BOOL: "bool",
}
"""torch's names of ONNX's types."""
BITS = {
    TensorProto.DOUBLE: 64, TensorProto.INT64: 64, TensorProto.UINT64: 64,
    TensorProto.FLOAT: 32, TensorProto.INT32: 32, TensorProto.UINT32: 32,
    TensorProto.FLOAT16: 16, TensorProto.BFLOAT16: 16, TensorProto.INT16: 16,
    TensorProto.INT4: 4, TensorProto.UINT4: 4,
}  # fmt: skip
PRECISIONS = ("float16", "bfloat16", "float64", "float32")
IMAGE_DIMS = 4
LARGEST = 2 << 30
"""Bytes of the file itself, as protobuf allows; larger weights lie in files beside it."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """What the file says. `precision`: torch's type of most weights, or "qint8" if quantized."""

    inputs: tuple[GraphInput, ...]
    output: str
    outputs: int
    precision: str
    size: ModelSize
    opset: int
    producer: str


def read_graph(path: Path, output: str = "") -> Graph:
    """Return what an ONNX file says of itself; `output`: the one with the images, "" to find it.

    Raises WeightsError for a damaged file, operators that onnxruntime does not bring, and weights
    in files that are missing or lie outside the folder of the model.
    """
    if path.suffix.lower() != ".onnx":
        msg = f"{path}: expected a file name that ends in .onnx"
        raise WeightsError(msg)
    if path.stat().st_size > LARGEST:
        msg = f"{path}: {path.stat().st_size:,} bytes; expected at most {LARGEST:,} (protobuf's limit)"
        raise WeightsError(msg)
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # noqa: BLE001  # protobuf raises classes of its own, which it does not export
        msg = f"{path}: not an ONNX file, or a damaged one ({first_line(error)})"
        raise WeightsError(msg) from None
    if not model.graph.node or not model.graph.output:
        msg = f"{path}: not an ONNX model: it has no operators or no output"
        raise WeightsError(msg)
    own = {function.domain for function in model.functions}
    nodes = list(nodes_of(model))
    for node in nodes:
        if node.domain not in DOMAINS | own:
            msg = (
                f"{path}: operator {node.domain}::{node.op_type} is a custom one; custom operators "
                "are code, and are not loaded"
            )
            raise WeightsError(msg)
    tensors = list(tensors_of(model))
    for tensor in tensors:
        check_external(path, tensor)
    weights = [one for one in tensors if len(one.dims) > 0]
    initial = {tensor.name for tensor in model.graph.initializer}
    return Graph(
        inputs=tuple(input_of(path, one) for one in model.graph.input if one.name not in initial),
        output=chosen_output(path, model.graph.output, output),
        outputs=len(model.graph.output),
        precision=precision_of(weights, {node.op_type for node in nodes}),
        size=ModelSize(
            sum(math.prod(one.dims) for one in weights),
            sum(math.prod(one.dims) * BITS.get(one.data_type, 8) // 8 for one in weights),
        ),
        opset=next((one.version for one in model.opset_import if one.domain in DOMAINS), 0),
        producer=f"{model.producer_name} {model.producer_version}".strip(),
    )


def chosen_output(path: Path, outputs: Any, name: str) -> str:
    """Return the output that was asked for, or the first that may be images: of four dimensions."""
    names = [one.name for one in outputs]
    if name and name not in names:
        msg = f"{path}: has the outputs {', '.join(names)}, not --option output={name}"
        raise WeightsError(msg)
    dims = {one.name: len(one.type.tensor_type.shape.dim) for one in outputs}
    images = [one for one in names if dims[one] == IMAGE_DIMS]
    return name or (images or names)[0]


def input_of(path: Path, value: Any) -> GraphInput:
    """Return an input; raises WeightsError for a type that no tensor of images has."""
    kind = value.type.tensor_type
    if kind.elem_type not in TYPES:
        msg = f"{path}: input {value.name} is no tensor of a common type"
        raise WeightsError(msg)
    dims = tuple(
        dim.dim_value if dim.WhichOneof("value") == "dim_value" else None for dim in kind.shape.dim
    )
    return GraphInput(value.name, TYPES[kind.elem_type], dims)


def nodes_of(model: Any) -> Iterator[Any]:
    """Yield every node: of the graph, of graphs in attributes, and of functions."""
    waiting = [model.graph, *model.functions]
    while waiting:
        for node in waiting.pop().node:
            yield node
            for attribute in node.attribute:
                waiting += [one for one in (attribute.g, *attribute.graphs) if one.node]


def tensors_of(model: Any) -> Iterator[Any]:
    """Yield every tensor that the file holds or names: weights, constants, those of inner graphs."""
    yield from model.graph.initializer
    for node in nodes_of(model):
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for graph in (attribute.g, *attribute.graphs):
                yield from graph.initializer


def check_external(path: Path, tensor: Any) -> None:
    """Raise WeightsError for weights in a file that is missing, too short or outside the folder."""
    if tensor.data_location != TensorProto.EXTERNAL:
        return
    entries = {one.key: one.value for one in tensor.external_data}
    location = entries.get("location", "")
    folder = path.parent.resolve()
    file = (folder / location).resolve()
    if any(part.startswith((".", "__")) for part in Path(location).parts if part != ".."):
        msg = f"{path}: weights of {tensor.name} are in the hidden file {location!r}; rename it"
        raise WeightsError(msg)
    if not location or not file.is_relative_to(folder):
        msg = f"{path}: weights of {tensor.name} are in {location!r}, outside the model's folder"
        raise WeightsError(msg)
    if not file.is_file():
        msg = f"{path}: weights of {tensor.name} are in {location}, which is not there"
        raise WeightsError(msg)
    try:
        end = int(entries.get("offset", 0)) + int(entries.get("length", 0))
    except ValueError:
        end = -1
    if not 0 <= end <= file.stat().st_size:
        msg = f"{path}: weights of {tensor.name} reach beyond the end of {location}"
        raise WeightsError(msg)


def precision_of(weights: list[Any], operators: set[str]) -> str:
    """Return torch's type of most numbers, or "qint8" of a quantized graph."""
    if operators & QUANTIZED:
        return "qint8"
    counts = dict.fromkeys(PRECISIONS, 0)
    for one in weights:
        name = TYPES.get(one.data_type, "")
        if name in counts:
            counts[name] += math.prod(one.dims)
    return max(counts, key=counts.__getitem__) if any(counts.values()) else "float32"
