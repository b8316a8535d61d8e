"""The kinds of device: each module here is one, and defines `DEVICE`, its Backend.

A new kind is a new module; nothing else names it.
"""

from __future__ import annotations

import functools
import importlib
import os
import pkgutil
from collections.abc import Mapping
from types import MappingProxyType

from sfbench.api.errors import UnsupportedError, UsageError
from sfbench.hardware.backend import Backend
from sfbench.hardware.places import Place
from sfbench.values.job import Placement

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


def places(text: str, environment: Mapping[str, str] = os.environ) -> list[Place]:
    """Return the devices of a --device value: one, "KIND:0,KIND:1", or "KIND:all".

    `environment`: its variables say which devices may be used. Raises UsageError for another text
    or several kinds, UnsupportedError for a device that is not there.
    """
    words = text.split(",")
    kind = resolve(AUTO).kind if text == AUTO else find_backend(words[0].replace(":all", "")).kind
    variable = backends()[kind].visibility_variable
    there = backends()[kind].places(environment.get(variable) if variable else None)
    if not there:
        resolve(kind)
    if words == [f"{kind}:all"]:
        words = [f"{kind}:{place.index}" for place in there]
    found = []
    for word in [kind] if text == AUTO else words:
        backend = find_backend(word)
        if backend.kind != kind:
            msg = f"--device {text}: expected devices of one kind, or {kind}:all"
            raise UsageError(msg)
        if backend.index >= len(there):
            last = f"; the last is {kind}:{len(there) - 1}" if there else ""
            msg = f"--device {word}: no such device here{last}"
            raise UnsupportedError(msg)
        found.append(there[backend.index])
    models = sorted({place.name for place in found})
    if len(models) > 1:
        msg = f"--device {text}: these are of several models ({', '.join(models)}); run each alone"
        raise UsageError(msg)
    return found


def placement_of(place: Place) -> Placement:
    """Return where a process runs that has this device alone, and the processors near it."""
    variable = backends()[place.kind].visibility_variable
    hidden = variable is None or place.shown is None
    return Placement(
        environment={} if hidden else {str(variable): str(place.shown)},
        processors=place.processors,
        memory_node=place.memory_node,
    )


def accelerators() -> list[dict[str, object]]:
    """Return facts of every device beside the host, asked without torch."""
    return [facts for kind in backends().values() for facts in kind.present() if "driver" in facts]
