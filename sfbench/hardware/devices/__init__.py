"""The kinds of device: each module here is one, and defines `DEVICE`, its Backend.

A new kind is a new module; nothing else names it.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Mapping
from types import MappingProxyType

from sfbench.api.errors import UnsupportedError, UsageError
from sfbench.hardware.backend import Backend

AUTO = "auto"


@functools.cache
def backends() -> Mapping[str, type[Backend]]:
    """Return every kind of device by torch's name, the most preferred first."""
    kinds: list[type[Backend]] = [
        importlib.import_module(f"{__name__}.{found.name}").DEVICE
        for found in pkgutil.iter_modules(__path__)
    ]
    kinds.sort(key=lambda kind: -kind.preference)
    return MappingProxyType({kind.kind: kind for kind in kinds})


def find_backend(name: str) -> Backend:
    """Return the backend of torch's name of a device, e.g. "cuda:1"; whether it is there is not asked.

    Raises UsageError for a name that is none.
    """
    kind, colon, index = name.partition(":")
    known = backends()
    if kind not in known or (colon and not index.isdecimal()):
        msg = f"--device {name}: expected {AUTO}, {', '.join(known)}, or KIND:NUMBER"
        raise UsageError(msg)
    return known[kind](int(index or 0))


def resolve(name: str) -> Backend:
    """Return the device of a --device value; "auto" takes the best kind that is there.

    Raises UsageError for another name and UnsupportedError for a device that is not there. No
    torch needed.
    """
    if name == AUTO:
        return next(kind() for kind in backends().values() if kind.present())
    backend = find_backend(name)
    there = backend.present()
    if not there:
        kinds = [kind.kind for kind in backends().values() if kind.present()]
        msg = f"--device {name}: no such device here; there is {', '.join(kinds)}"
        raise UnsupportedError(msg)
    if backend.index >= len(there):
        last = f"{backend.kind}:{len(there) - 1}"
        msg = f"--device {name}: no such device here; the last is {last}"
        raise UnsupportedError(msg)
    return backend


def accelerators() -> list[dict[str, object]]:
    """Return facts of every device beside the host, asked without torch."""
    return [facts for kind in backends().values() for facts in kind.present() if "driver" in facts]
