"""The one case of a command that takes one model at one resolution."""

from __future__ import annotations

from sfbench.api.errors import UsageError
from sfbench.catalogue.catalogue import Catalogue
from sfbench.cli import defaults
from sfbench.run.grid import make_plan
from sfbench.values.case import Case, Request


def one_case(request: Request, catalogue: Catalogue, command: str) -> Case:
    """Return the one requested case; raises UsageError for several, PlanError for a wrong one."""
    plan = make_plan(
        [request], catalogue, torch_home=defaults.torch_home(), trials=1, timeout_seconds=1
    )
    if len(plan.cases) != 1:
        msg = f"{command}: expected one model at one resolution, found {len(plan.cases)} cases"
        raise UsageError(msg)
    return plan.cases[0]
