"""The step that counts parameters and operations."""

from __future__ import annotations

from sfbench.generators.building import build
from sfbench.trial.state import Trial


def count_operations(trial: Trial) -> None:
    """Count parameters and operations; nothing is computed."""
    from sfbench.generators import contract  # torch comes with it
    from sfbench.speed.complexity import complexity

    module = contract.module_of(trial.generator)
    trial.add(*complexity(trial.generator, module, lambda: build(trial.spec, trial.case, "meta")))
