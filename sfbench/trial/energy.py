"""The step that measures energy."""

from __future__ import annotations

from sfbench.trial.state import Trial, inference


def measure_energy(trial: Trial) -> None:
    """Measure joules per image."""
    from sfbench.speed.energy import energy_reading  # torch comes with it
    from sfbench.speed.probe import core_work

    case = trial.case
    with inference():
        work = core_work(trial.generator, case.batch, case.seed)
        trial.add(energy_reading(work, batch=case.batch, backend=trial.backend, timing=case.timing))
