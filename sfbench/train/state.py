"""The state of a run as files: tensors in safetensors, the rest as JSON, two generations.

A state is valid if its JSON file exists and contains the digest of the tensors: both are written
under other names and renamed, tensors first. Files of an interrupted write are ignored.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypedDict

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from sfbench.api.errors import DataError
from sfbench.store.whole_file import write_whole
from sfbench.values.documents import read_document

GENERATIONS = 2
TENSOR, PAIRS = "$tensor", "$pairs"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A run after `step` steps. `complaint` describes a newer generation that was unusable."""

    step: int
    tree: Mapping[str, Any]
    complaint: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """A state on the host, ready to be written while the run continues."""

    step: int
    tensors: Mapping[str, Tensor]
    rest: Any


def packed(step: int, tree: Mapping[str, Any]) -> Packed:
    """Return a copy of a state that later steps do not modify."""
    tensors: dict[str, Tensor] = {}
    rest = split(tree, "", tensors)
    return Packed(step=step, tensors=tensors, rest=rest)


def write_state(folder: Path, state: Packed) -> None:
    """Write a state; afterwards, all but the last two are removed.

    Raises DataError in one line when it cannot be written: the last state is kept.
    """
    stem = folder / f"state-{state.step:012d}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        content = safetensors.torch.save(dict(state.tensors))
        write_whole(stem.with_suffix(".safetensors"), content, durable=True)
        document = {
            "step": state.step,
            "sha256": hashlib.sha256(content).hexdigest(),
            "rest": state.rest,
        }
        write_whole(stem.with_suffix(".json"), json.dumps(document), durable=True)
        for old in states(folder)[GENERATIONS:]:
            old.unlink()
            old.with_suffix(".safetensors").unlink(missing_ok=True)
    except OSError as error:
        msg = f"{folder}: the state cannot be written ({error.strerror}); the previous one is kept"
        raise DataError(msg) from None


class Saver:
    """Writes states in the background, one at a time; an error is raised at the next call."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pool = ThreadPoolExecutor(max_workers=1)
        self.writing: Future[None] | None = None

    def save(self, step: int, tree: Mapping[str, Any]) -> None:
        """Take a copy of the state and write it in the background."""
        self.finish()
        self.writing = self.pool.submit(write_state, self.folder, packed(step, tree))

    def finish(self) -> None:
        """Wait until the last state is on disk; raises the error of that write."""
        if self.writing is not None:
            writing, self.writing = self.writing, None
            writing.result()


def states(folder: Path) -> list[Path]:
    """Return the JSON files of the states there, the newest first."""
    return sorted(folder.glob("state-*.json"), reverse=True)


class Stored(TypedDict):
    """The JSON half of a state: its step, the digest of its tensors, and all that is no tensor."""

    step: int
    sha256: str
    rest: Any


def load_state(folder: Path) -> State | None:
    """Return the newest intact state; None if there is no state.

    Raises DataError when every generation is damaged.
    """
    complaint = None
    for path in states(folder):
        try:
            document = read_document(path.read_bytes(), Stored)
            content = checked(path.with_suffix(".safetensors"), document["sha256"])
            tensors = safetensors.torch.load(content)
            tree = joined(document["rest"], tensors)
            return State(step=int(document["step"]), tree=tree, complaint=complaint)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            complaint = complaint or f"{path.with_suffix('.safetensors').name}: {error}"
    if complaint is not None:
        msg = f"{folder}: no usable state ({complaint}); start again with another --out"
        raise DataError(msg)
    return None


def checked(path: Path, sha256: str) -> bytes:
    """Return a file's content; raises ValueError if its digest does not match."""
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        msg = "its sha256 does not match the stored one"
        raise ValueError(msg)
    return content


def split(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """Return the JSON form of a tree; its tensors go to `tensors`, by path."""
    if isinstance(value, Tensor):
        tensors[name] = value.detach().to("cpu", copy=True).contiguous()
        return {TENSOR: name}
    if isinstance(value, Mapping):
        pairs = [[key, split(one, f"{name}/{key}", tensors)] for key, one in value.items()]
        return {PAIRS: pairs}
    if isinstance(value, list | tuple):
        return [split(one, f"{name}/{i}", tensors) for i, one in enumerate(value)]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    msg = f"state {name}: a {type(value).__name__} is neither a tensor nor JSON"
    raise TypeError(msg)


def joined(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Return the tree that `split` took apart."""
    if isinstance(value, dict):
        if TENSOR in value:
            return tensors[value[TENSOR]]
        return {key: joined(one, tensors) for key, one in value[PAIRS]}
    if isinstance(value, list):
        return [joined(one, tensors) for one in value]
    return value


def finite(tree: Any) -> bool:
    """Return whether every floating-point tensor of a tree is finite."""
    if isinstance(tree, Tensor):
        return not tree.is_floating_point() or bool(torch.isfinite(tree).all())
    if isinstance(tree, Mapping):
        return all(finite(one) for one in tree.values())
    return all(finite(one) for one in tree) if isinstance(tree, list | tuple) else True
