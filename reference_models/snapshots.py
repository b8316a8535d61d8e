"""Reads the network snapshots (.pkl) of the official programs without executing anything in them.

The official loader runs source text that is stored in the file. Here the file is parsed as data;
it may use the few names in `ALLOWED`, which stay names, and any other is refused.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from sfbench.api import pickled_numbers, torch_files
from sfbench.api.pickles import Global, Object, PickleError, parse_pickle

FILE_LIMIT = 4 << 30
DEEPEST = 64
MOST_NAMES = 1_000_000
PURPOSE = "generator snapshot"
MODULE = Global("torch_utils.persistence", "_reconstruct_persistent_obj")
OPTIONS = Global("dnnlib.util", "EasyDict")
STORAGE = Global("torch.storage", "_load_from_bytes")
DROPOUT = Global("torch.nn.modules.dropout", "Dropout")
"""A part without tensors that the GANsformer's attention layers have."""
DICTIONARIES = torch_files.ORDERED | {OPTIONS}
AVERAGE = "G_ema"
AVERAGES = (AVERAGE, "Gs")
"""Names of the averaged generator: of StyleGAN2-ADA, and of the GANsformer."""
ALLOWED = (
    DICTIONARIES
    | torch_files.TENSORS
    | torch_files.PARAMETERS
    | torch_files.SETS
    | pickled_numbers.NAMES
    | {MODULE, STORAGE, DROPOUT}
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One network of a snapshot: the arguments it was made with, and its tensors by name."""

    arguments: Mapping[str, Any]
    tensors: Mapping[str, Tensor]


def read_snapshot(path: Path, network: str = AVERAGE) -> Snapshot:
    """Return a network of a snapshot file ("G_ema", "G" or "D"); the average by any of its names.

    Raises PickleError (a ValueError) for a file that is no snapshot or needs more than the known
    names.
    """
    if path.stat().st_size > FILE_LIMIT:
        msg = f"{path.stat().st_size} bytes: expected at most {FILE_LIMIT}"
        raise PickleError(msg)
    with path.open("rb") as file:
        content = parse_pickle(file, ALLOWED.__contains__, purpose=PURPOSE)
    networks = mapping_of(content)
    if network == AVERAGE:
        network = next((name for name in AVERAGES if name in networks), network)
    module = networks.get(network)
    if not isinstance(module, Object) or module.made_by != MODULE:
        found = ", ".join(map(str, networks)) or pickled_numbers.kind_of(content)
        msg = f"it holds {found[:200]}: expected a dictionary with a network {network}"
        raise PickleError(msg)
    state = state_of(module)
    if state.get("_init_kwargs") is None:
        msg = f"its network {network} does not say what it was made with (_init_kwargs)"
        raise PickleError(msg)
    tensors = Tensors()
    arguments = torch_files.resolved(state["_init_kwargs"], tensors.storage, DICTIONARIES)
    if not isinstance(arguments, dict):
        msg = f"its network {network} was made with a {pickled_numbers.kind_of(arguments)}: refused"
        raise PickleError(msg)
    return Snapshot(arguments=arguments, tensors=dict(tensors.of_module(module)))


def mapping_of(value: Any) -> dict[Any, Any]:
    """Return the items of a dictionary in any of its forms; none for anything else."""
    if isinstance(value, Object) and value.made_by in DICTIONARIES:
        return value.items or {}
    return value if isinstance(value, dict) else {}


def state_of(module: Object) -> dict[Any, Any]:
    """Return the state of a stored module; the source text beside it is not looked at."""
    if module.has_state:
        msg = "it changes a module after making it: refused"
        raise PickleError(msg)
    meta = mapping_of(module.arguments[0]) if module.arguments else {}
    state = mapping_of(meta.get("state"))
    parts = [state.get(kind, {}) for kind in ("_parameters", "_buffers", "_modules")]
    if not state or not all(
        isinstance(part, dict) or pickled_numbers.is_made_by(part, DICTIONARIES) for part in parts
    ):
        name = meta.get("class_name")
        shown = name[:60] if isinstance(name, str) else pickled_numbers.kind_of(name)
        msg = f"its module {shown!r} does not have the structure of one"
        raise PickleError(msg)
    return state


class Tensors:
    """Makes each stored tensor once, so that shared ones stay shared."""

    def __init__(self) -> None:
        self.made: dict[int, Tensor] = {}
        self.storages: dict[int, Tensor] = {}
        self.names = 0

    def of_module(
        self, module: Object, prefix: str = "", depth: int = 0
    ) -> Iterator[tuple[str, Tensor]]:
        """Yield a module's parameters, then buffers, then those of its parts, in stored order.

        Tensors are never taken from `_init_kwargs`, where old snapshots keep a stale first copy.
        """
        state = state_of(module)
        self.names += 1
        if depth > DEEPEST or self.names > MOST_NAMES:
            msg = f"its modules are nested over {DEEPEST} deep, or are over {MOST_NAMES:,}"
            raise PickleError(msg)
        for kind in ("_parameters", "_buffers"):
            for name, value in mapping_of(state.get(kind)).items():
                if isinstance(value, Object):
                    yield f"{prefix}{name}", self.tensor(value)
        for name, part in mapping_of(state.get("_modules")).items():
            if pickled_numbers.is_made_by(part, {MODULE}):
                yield from self.of_module(part, f"{prefix}{name}.", depth + 1)

    def tensor(self, value: Object) -> Tensor:
        """Return a stored tensor."""
        if id(value) not in self.made:
            self.made[id(value)] = torch_files.tensor_of(value, self.storage)
        return self.made[id(value)]

    def storage(self, value: Any) -> Tensor:
        """Return the flat tensor of a storage, which is a file of torch inside the file."""
        content = value.arguments[0] if pickled_numbers.is_made_by(value, {STORAGE}) else None
        if not isinstance(content, bytes):
            msg = f"a tensor made of a {pickled_numbers.kind_of(value)}: refused"
            raise PickleError(msg)
        # By content: however often the file asks for it, it is unpacked once.
        if id(content) not in self.storages:
            flat = torch_files.read_torch_bytes(content)
            if not isinstance(flat, Tensor):
                msg = f"a storage that holds a {type(flat).__name__}: refused"
                raise PickleError(msg)
            self.storages[id(content)] = flat
        return self.storages[id(content)]
