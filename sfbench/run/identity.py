"""What must be equal for a stored trial to count as this one: case, code, machine, protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sfbench.plan import Case
from sfbench.records import PROTOCOL, digest
from sfbench.registry import code_digest

MEASURING_CODE = (
    "sfbench.api",
    "sfbench.building",
    "sfbench.contract",
    "sfbench.cuda",
    "sfbench.data",
    "sfbench.device",
    "sfbench.execution",
    "sfbench.pixels",
    "sfbench.quality",
    "sfbench.speed",
    "sfbench.trial",
    "sfbench.worker",
)


def measuring_code() -> str:
    """Return the digest of the source that measures."""
    return code_digest(MEASURING_CODE)


def identity(case: Case, model_code: str, measuring: str, machine: Mapping[str, Any]) -> str:
    """Return the digest that a trial is found again by."""
    return digest([case.key(), model_code, measuring, dict(machine), PROTOCOL])
