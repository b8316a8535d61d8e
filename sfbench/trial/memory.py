"""Steps that measure memory: the peak of compilation, then of a call."""

from __future__ import annotations

from sfbench.api.protocols import Staged
from sfbench.trial.state import Trial, inference


def note_cold_peaks(trial: Trial) -> None:
    """Read the peaks so far, including compilation and autotuning."""
    from sfbench.speed.memory import cold_readings  # torch comes with it

    peak = trial.host_peak_so_far() if trial.resettable else None
    trial.add(*cold_readings(trial.backend, peak))


def is_staged(trial: Trial) -> bool:
    """Return whether the generator is made of parts that can be measured one by one."""
    return isinstance(trial.generator, Staged)


def measure_stages(trial: Trial) -> None:
    """Measure the peak of one call of each part of the generator."""
    from sfbench.speed.stages import stage_memory  # torch comes with it

    case, generator = trial.case, trial.generator
    assert isinstance(generator, Staged)  # noqa: S101  # when the step applies
    with inference():
        latents = trial.generator.draw_latents(range(case.seed, case.seed + case.batch))
        trial.add(*stage_memory(generator, latents, batch=case.batch, backend=trial.backend))


def measure_peaks(trial: Trial) -> None:
    """Measure the weights and the peak of calls."""
    from sfbench.generators import contract  # torch comes with it
    from sfbench.speed.memory import measure_memory, weights_reading
    from sfbench.speed.probe import core_work

    case = trial.case
    with inference():
        trial.add(weights_reading(trial.generator, contract.module_of(trial.generator)))
        work = core_work(trial.generator, case.batch, case.seed, ring=1)
        trial.add(
            *measure_memory(work, batch=case.batch, backend=trial.backend, loaded=trial.loaded)
        )
