"""The machines behind a report, and in what its records differ."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sfbench.hardware.machine import processors
from sfbench.values.records import Record, digest

NOT_KIND = frozenset({"versions", "environment", "host"})
"""Facts of a machine that do not make it another kind."""


def machines(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Return the description of every machine, from its newest record, and which are of one kind."""
    newest = {record.machine: record for record in records}
    kinds: dict[str, list[str]] = {}
    for name, record in sorted(newest.items()):
        kinds.setdefault(kind_of(record), []).append(name)
    found = []
    for name, record in sorted(newest.items()):
        machine = record.provenance.get("machine", {})
        facts = [(key, value) for key, value in machine.items() if key != "versions"]
        facts += list(machine.get("versions", {}).items())
        others = [other for other in kinds[kind_of(record)] if other != name]
        found.append(
            {
                "name": name,
                "alike": f"the same kind as {', '.join(others)}, other machine" if others else "",
                "facts": [(k, told(v)) for k, v in facts if v not in (None, [], {})],
            }
        )
    return found


def kind_of(record: Record) -> str:
    """Return the digest of a machine's hardware, whichever machine it is; itself where unknown."""
    machine = record.provenance.get("machine", {})
    facts = {name: machine[name] for name in machine if name not in NOT_KIND}
    return digest(facts) if facts else record.machine


def processor_of(record: Record) -> str:
    """Return the processors of a record's machine, in a few words; empty where unknown."""
    gpu = record.provenance.get("gpu")
    if isinstance(gpu, dict) and gpu.get("name"):
        return str(gpu["name"])
    return processors(record.provenance.get("machine") or {})


def told(value: Any) -> str:
    """Return a fact as text."""
    return value if isinstance(value, str) else json.dumps(value)


def differences(records: Sequence[Record]) -> list[str]:
    """Return the versions and environment settings in which the records differ."""
    values: dict[str, set[str]] = {}
    for record in records:
        machine = record.provenance.get("machine", {})
        facts = dict(machine.get("versions", {})) | dict(record.provenance.get("environment", {}))
        for name, value in facts.items():
            values.setdefault(name, set()).add(str(value))
    return [
        f"{name}: {', '.join(sorted(found))}"
        for name, found in sorted(values.items())
        if len(found) > 1
    ]
