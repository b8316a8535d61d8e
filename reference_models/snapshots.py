"""Reads the network snapshots (.pkl) of the official programs without executing anything in them.

The official loader runs source text that is stored in the file. This reader knows the few globals
that such files need, maps each to an inert stand-in, and refuses every other one by name.
"""

from __future__ import annotations

import dataclasses
import io
import math
import pickle
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

FILE_LIMIT = 4 << 30
STORAGE_LIMIT = 2 << 30
NETWORKS = ("G_ema", "G", "D")
SCALAR_KINDS = frozenset("biuf")


class UnsafeSnapshotError(ValueError):
    """The file needs something that a snapshot has no need of; nothing of it was executed."""


class Sealed(type):
    """The type of stand-in classes: a file cannot set attributes on them."""

    def __setattr__(cls, name: str, value: object) -> None:
        """Refuse."""
        msg = f"it changes the class {cls.__name__}: refused"
        raise UnsafeSnapshotError(msg)


class OptionDict(dict[str, Any], metaclass=Sealed):
    """Stands for the attribute dictionary of the official programs."""

    __slots__ = ()


class Module(metaclass=Sealed):
    """Stands for a stored network module: its class name and plain state; its source is dropped."""

    __slots__ = ("class_name", "state")

    class_name: str
    state: Mapping[str, Any]

    def __init__(self, class_name: str, state: Mapping[str, Any]) -> None:
        object.__setattr__(self, "class_name", class_name)
        object.__setattr__(self, "state", state)

    def __setattr__(self, name: str, value: object) -> None:
        """Refuse."""
        msg = f"it changes {name} of a module after making it: refused"
        raise UnsafeSnapshotError(msg)

    def __setstate__(self, state: object) -> None:
        """Refuse: official modules are made whole by their call."""
        msg = "it changes a module after making it: refused"
        raise UnsafeSnapshotError(msg)


class NumpyType(metaclass=Sealed):
    """Stands for numpy.dtype: keeps the type code, for scalars of numbers only."""

    def __init__(self, code: str, _align: object = None, _copy: object = None) -> None:
        self.code = str(code)
        self.order = "<"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        """Take the byte order from the stored state."""
        self.order = str(state[1])


class Call(metaclass=Sealed):
    """A function that a file may call and nothing else: attributes of it cannot be set."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        object.__setattr__(self, "function", function)

    def __call__(self, *arguments: Any) -> Any:
        """Return what the function returns."""
        return self.function(*arguments)  # type: ignore[attr-defined]  # a slot

    def __setattr__(self, name: str, value: object) -> None:
        """Refuse."""
        msg = f"it changes {name} of a function: refused"
        raise UnsafeSnapshotError(msg)

    def __setstate__(self, state: object) -> None:
        """Refuse."""
        msg = "it changes a function: refused"
        raise UnsafeSnapshotError(msg)


def numpy_scalar(kind: NumpyType, content: bytes) -> float:
    """Return a stored numpy number as a Python number."""
    if kind.code[:1] not in SCALAR_KINDS or not isinstance(content, bytes):
        msg = f"a numpy scalar of type {kind.code!r}: expected a number"
        raise UnsafeSnapshotError(msg)
    order = kind.order if kind.order in "<>" else "="
    value: float = np.frombuffer(content, dtype=np.dtype(order + kind.code), count=1)[0].item()
    return value


def stored_module(meta: Mapping[str, Any]) -> Module:
    """Return the stand-in of a stored module; the source text in `meta` is not looked at."""
    state = meta["state"]
    parts = [state.get(kind, {}) for kind in ("_parameters", "_buffers", "_modules")]
    if not all(isinstance(part, Mapping) for part in parts):
        msg = f"its module {meta['class_name']!r} does not have the structure of one"
        raise UnsafeSnapshotError(msg)
    return Module(str(meta["class_name"]), state)


def storage_tensor(content: bytes) -> Tensor:
    """Return the flat tensor of a nested storage, read with weights_only."""
    if len(content) > STORAGE_LIMIT:
        msg = f"a tensor of {len(content)} bytes: expected at most {STORAGE_LIMIT}"
        raise UnsafeSnapshotError(msg)
    storage = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return torch.tensor([], dtype=storage.dtype).set_(storage)


def strided_tensor(  # the stored call's own arguments
    flat: Tensor,
    offset: int,
    size: tuple[int, ...],
    stride: tuple[int, ...],
    _requires_grad: object = None,
    _hooks: object = None,
) -> Tensor:
    """Return a view of a stored tensor after checking that it lies within its storage."""
    numbers = [offset, *size, *stride]
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    beyond = last >= flat.numel() or math.prod(size) > flat.numel()
    if min(numbers, default=0) < 0 or (0 not in size and beyond):
        msg = f"a tensor of size {tuple(size)} reaches beyond its {flat.numel()} stored values"
        raise UnsafeSnapshotError(msg)
    return flat.as_strided(size, stride, offset).clone()


def parameter(tensor: Tensor, _requires_grad: object = None, _hooks: object = None) -> Tensor:
    """Return a stored parameter's tensor, keeping the identity of shared ones."""
    return tensor


ALLOWED: Mapping[tuple[str, str], Any] = {
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): Call(stored_module),
    ("dnnlib.util", "EasyDict"): OptionDict,
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_parameter"): Call(parameter),
    ("torch._utils", "_rebuild_tensor_v2"): Call(strided_tensor),
    ("torch.storage", "_load_from_bytes"): Call(storage_tensor),
    ("numpy.core.multiarray", "scalar"): Call(numpy_scalar),
    ("numpy._core.multiarray", "scalar"): Call(numpy_scalar),
    ("numpy", "dtype"): NumpyType,
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,
}


class SnapshotUnpickler(pickle.Unpickler):
    """An unpickler that resolves the globals in `ALLOWED` and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-in of a global; raises UnsafeSnapshotError for any other."""
        try:
            return ALLOWED[module, name]
        except KeyError:
            msg = f"it needs {module}.{name}, which no generator snapshot needs: refused"
            raise UnsafeSnapshotError(msg) from None

    def persistent_load(self, pid: Any) -> Any:
        """Refuse references to objects outside the file."""
        msg = f"it refers to an object outside the file ({str(pid)[:60]!r}): refused"
        raise UnsafeSnapshotError(msg)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One network of a snapshot: the arguments it was made with, and its tensors by name."""

    arguments: Mapping[str, Any]
    tensors: Mapping[str, Tensor]


def read_snapshot(path: Path, network: str = "G_ema") -> Snapshot:
    """Return a network of a snapshot file ("G_ema", "G" or "D").

    Raises UnsafeSnapshotError for a file that needs more than the known globals, and ValueError
    for one that is no snapshot.
    """
    if path.stat().st_size > FILE_LIMIT:
        msg = f"{path.stat().st_size} bytes: expected at most {FILE_LIMIT}"
        raise UnsafeSnapshotError(msg)
    with path.open("rb") as file:
        try:
            content = SnapshotUnpickler(file).load()
        except UnsafeSnapshotError:
            raise
        except Exception as error:  # noqa: BLE001  # a damaged pickle can raise almost anything
            msg = f"it is not a readable pickle ({type(error).__name__}: {error})"
            raise ValueError(msg) from None
    module = content.get(network) if isinstance(content, dict) else None
    if not isinstance(module, Module):
        found = (
            ", ".join(map(str, content)) if isinstance(content, dict) else type(content).__name__
        )
        msg = f"it holds {found or 'nothing'}: expected a dictionary with a network {network}"
        raise ValueError(msg)  # noqa: TRY004  # the file is wrong, not the caller
    arguments = module.state.get("_init_kwargs")
    if not isinstance(arguments, Mapping):
        msg = f"its network {network} does not say what it was made with (_init_kwargs)"
        raise ValueError(msg)  # noqa: TRY004  # the file is wrong, not the caller
    return Snapshot(arguments=arguments, tensors=dict(stored_tensors(module)))


def stored_tensors(module: Module, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield a module's parameters, then buffers, then those of its parts, in stored order.

    Tensors are never taken from `_init_kwargs`, where old snapshots keep a stale first copy.
    """
    for kind in ("_parameters", "_buffers"):
        for name, tensor in module.state.get(kind, {}).items():
            if isinstance(tensor, Tensor):
                yield prefix + name, tensor
    for name, part in module.state.get("_modules", {}).items():
        if isinstance(part, Module):
            yield from stored_tensors(part, f"{prefix}{name}.")
