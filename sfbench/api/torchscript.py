"""Reading the tensors of a TorchScript archive; its code is never loaded.

The archive is a zip: `data.pkl` describes the module tree and refers to the bytes of tensors in
`data/`. torch's own loader runs `__setstate__` of modules that define it; this reader lets nothing
through but plain containers, module stand-ins and tensors.
"""

from __future__ import annotations

import collections
import pickle
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from sfbench.api.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor

CONSTANTS = "/constants.pkl"
STORAGES = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}


def is_torchscript(path: Path) -> bool:
    """Return whether the file is a TorchScript archive."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith(CONSTANTS) for name in archive.namelist())


def read_torchscript(path: Path) -> dict[str, Tensor]:
    """Return every tensor of the module tree by its dotted name.

    Raises WeightsError for a pickle that asks for anything but tensors and modules.
    """
    with zipfile.ZipFile(path) as archive:
        prefix = next(n for n in archive.namelist() if n.endswith(CONSTANTS))[: -len(CONSTANTS)]
        with archive.open(f"{prefix}/data.pkl") as file:
            root = Reader(file, archive, prefix).load()
    return dict(named_tensors(root, ""))


class Module:
    """Stands in for a module: its attributes, and nothing it can do."""

    attributes: Mapping[str, Any] = MappingProxyType({})

    def __setstate__(self, state: Any) -> None:
        """Keep the attributes; a state that code of the module would take apart holds none."""
        if isinstance(state, dict):
            self.attributes = state


def named_tensors(value: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors below a module with their dotted names."""
    if isinstance(value, Module):
        for key, inner in value.attributes.items():
            yield from named_tensors(inner, f"{name}.{key}" if name else str(key))
    elif hasattr(value, "detach"):
        yield name, value


class Reader(pickle.Unpickler):
    """Unpickles a module tree; every other global is refused by name."""

    def __init__(self, file: Any, archive: zipfile.ZipFile, prefix: str) -> None:
        super().__init__(file)
        self.archive = archive
        self.prefix = prefix

    def find_class(self, module: str, name: str) -> Any:
        """Return what may be built: modules, tensors, lists of numbers, ordered dictionaries."""
        if module.startswith("__torch__"):
            return Module
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return tensor
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return parameter
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if module == "torch.jit._pickle" and name.startswith("build_"):
            return list
        msg = f"its pickle asks for {module}.{name}, which is neither a tensor nor a module"
        raise WeightsError(msg)

    def persistent_load(self, reference: Any) -> Any:
        """Return the bytes of a storage as a flat tensor."""
        import torch  # slow

        _, kind, key, _, count = reference
        dtype: Any = getattr(torch, str(kind))
        content = bytearray(self.archive.read(f"{self.prefix}/data/{key}"))
        return torch.frombuffer(content, dtype=dtype, count=count) if count else torch.empty(0)


def tensor(storage: Any, offset: int, size: Any, stride: Any, *_: Any) -> Tensor:
    """Return a tensor of its own from a storage; raises where it would reach beyond it."""
    found: Tensor = storage.as_strided(tuple(size), tuple(stride), offset).clone()
    return found


def parameter(data: Any, *_: Any) -> Any:
    """Return a parameter's tensor."""
    return data
