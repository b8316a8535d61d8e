"""A program of torch.export as an ImageGenerator, loaded so that nothing in its file runs.

`torch.export.load` unpickles, evaluates and imports what a file asks for. It gets another file
instead: one that is written here, of the JSON and the tensors of the original that were checked.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor
from torch._export.serde import schema
from torch._export.serde.serialize import _SERIALIZE_TO_TORCH_DTYPE
from torch.export.passes import move_to_device_pass
from torch.utils import _pytree as pytree

from sfbench.api import BuildRequest, GraphGenerator, GraphInput, UnsupportedError, WeightsError
from sfbench.api.archives import DAMAGE
from sfbench.api.errors import first_line
from sfbench.api.precision import PRECISIONS, check_held
from sfbench.api.regular_files import check_regular
from sfbench_exported.archive import (
    CONFIGS,
    FORMAT,
    ORDER,
    PREFIXES,
    PROGRAM,
    SAMPLES,
    VERSION,
    Archive,
)
from sfbench_exported.program import checked_program, walk
from sfbench_exported.refusal import RefusedError, need

DTYPES: Mapping[int, torch.dtype] = {int(k): v for k, v in _SERIALIZE_TO_TORCH_DTYPE.items()}
STRIDED = 7
IMAGE_DIMS = 4
MOST_DIMS = 16


def exported(request: BuildRequest) -> GraphGenerator:
    """Return the generator of the option `file`.

    Raises WeightsError for a file that is damaged or could run code, and UnsupportedError for
    another precision than the file's.
    """
    path = Path(str(request.options["file"]))
    program, written_by = read_program(path)
    check_held(path.name, precision_of(program), request)
    program = move_to_device_pass(program, request.device)
    # Guards are source code in the file; sizes are checked by torch without them.
    module = program.module(check_guards=False)
    module.requires_grad_(requires_grad=False)
    spec = program.call_spec.in_spec
    names = list(program.graph_signature.user_inputs)

    def run(inputs: Mapping[str, Tensor]) -> Tensor:
        args, kwargs = pytree.tree_unflatten([inputs[str(name)] for name in names], spec)
        found = module(*args, **kwargs)
        leaves = [one for one in pytree.tree_leaves(found) if isinstance(one, Tensor)]
        if not leaves:
            msg = f"{path.name}: its output holds no tensor"
            raise UnsupportedError(msg)
        # Of several outputs, the images are the first of four dimensions.
        return next((one for one in leaves if one.ndim == IMAGE_DIMS), leaves[0])

    return GraphGenerator(
        run,
        inputs_of(program),
        request,
        where=path.name,
        module=module,
        architecture={"format": "torch.export", "written_by": f"torch {written_by}"},
    )


def read_program(path: Path) -> tuple[torch.export.ExportedProgram, str]:
    """Return the program of a file, on the CPU, and the version of torch that wrote it.

    Raises WeightsError, in one line, for a file that is not fit to be loaded.
    """
    try:
        check_regular(path)
        # Opened once: what was checked is what is loaded.
        with path.open("rb") as file, zipfile.ZipFile(file) as zipped:
            copy, written_by = copied(Archive(zipped, path.stat().st_size))
        return torch.export.load(copy), written_by
    except RefusedError as error:
        msg = f"{path}: not loaded: {error}"
        raise WeightsError(msg) from None
    except (OSError, *DAMAGE) as error:
        msg = f"{path}: not a program of torch.export, or damaged ({first_line(error)})"
        raise WeightsError(msg) from None
    except Exception as error:  # noqa: BLE001  # torch raises anything for what it cannot make sense of
        msg = f"{path}: torch.export does not load it ({type(error).__name__}: {first_line(error)})"
        raise WeightsError(msg) from None


def copied(archive: Archive) -> tuple[BinaryIO, str]:
    """Return a new archive of what was checked, and the version of torch that wrote the old one."""
    program = checked_program(archive.document(PROGRAM))
    configs = {folder: archive.document(name) for folder, name in CONFIGS.items()}
    for folder, config in configs.items():
        check_payloads(config, archive, folder)
    for document in (program, *configs.values()):
        on_cpu(document)
    copy = io.BytesIO()
    with zipfile.ZipFile(copy, "w", zipfile.ZIP_STORED) as out:
        plain = {
            FORMAT: b"pt2",
            VERSION: b"0",
            ORDER: b"little",
            ".data/version": b"6\n",
            SAMPLES: b"",
        }
        plain[PROGRAM] = json.dumps(program).encode()
        plain |= {
            CONFIGS[folder]: json.dumps(config).encode() for folder, config in configs.items()
        }
        for name, content in plain.items():
            out.writestr(f"model/{name}", content)
        for folder, config in configs.items():
            for name in sorted({one["path_name"] for one in config["config"].values()}):
                out.writestr(f"model/{folder}{name}", archive.read(folder + name))
    copy.seek(0)
    return copy, str(program["torch_version"])


def check_payloads(config: Any, archive: Archive, folder: str) -> None:
    """Raise RefusedError for tensors that are pickled, missing, or reach beyond their bytes."""
    try:
        walk(schema.PayloadConfig, config, ("", ""), 0)
        for name, one in config["config"].items():
            plain = one["use_pickle"] is False and one["tensor_meta"]
            need(plain, f"weight {name} is pickled")
            fits = one["path_name"].startswith(PREFIXES[folder])
            info = archive.infos.get(folder + one["path_name"])
            if info is None or not fits:
                msg = f"weight {name} is missing"
                raise RefusedError(msg)
            check_extent(name, one["tensor_meta"], info.file_size)
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        msg = f"its list of weights is malformed ({type(error).__name__}: {error})"
        raise RefusedError(msg) from None


def check_extent(name: str, meta: Mapping[str, Any], size: int) -> None:
    """Raise RefusedError unless every number of a tensor lies in its file of `size` bytes."""
    need(meta["dtype"] in DTYPES and meta["layout"] == STRIDED, f"weight {name} is of another kind")
    sizes, strides = ([one["as_int"] for one in meta[part]] for part in ("sizes", "strides"))
    offset = meta["storage_offset"]["as_int"]
    plain = len(sizes) == len(strides) <= MOST_DIMS and min([offset, *sizes, *strides]) >= 0
    need(plain, f"weight {name} has impossible sizes")
    there, odd = divmod(size, DTYPES[meta["dtype"]].itemsize)
    count = math.prod(sizes)
    last = sum((many - 1) * step for many, step in zip(sizes, strides, strict=True)) + 1
    inside = not count or (count <= there and offset + last <= there)
    need(inside and not odd, f"weight {name} reaches beyond its bytes")


def on_cpu(document: Any) -> None:
    """Put every device that a document names on the CPU; the program is moved once it is loaded."""
    waiting = [document]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            if set(one) == {"type", "index"}:
                one |= {"type": "cpu", "index": None}
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one


def inputs_of(program: torch.export.ExportedProgram) -> list[GraphInput]:
    """Return the inputs of a program; raises UnsupportedError for one that is no tensor."""
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    found = []
    for name in program.graph_signature.user_inputs:
        value = values.get(str(name))
        if not isinstance(value, Tensor):
            msg = f"input {name} is no tensor; export the program with tensors alone"
            raise UnsupportedError(msg)
        sizes: list[object] = list(value.shape)
        shape = tuple(size if isinstance(size, int) else None for size in sizes)
        found.append(GraphInput(str(name), str(value.dtype).removeprefix("torch."), shape))
    return found


def precision_of(program: torch.export.ExportedProgram) -> str:
    """Return torch's name of the type of most weights."""
    counts: dict[str, int] = {}
    for tensor in program.state_dict.values():
        name = str(tensor.dtype).removeprefix("torch.")
        if name in PRECISIONS:
            counts[name] = counts.get(name, 0) + tensor.numel()
    return max(counts, key=counts.__getitem__) if counts else "float32"
