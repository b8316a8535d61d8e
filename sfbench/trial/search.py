"""The step of a search: whether the case runs at all, and how fast."""

from __future__ import annotations

from sfbench.hardware.host import host_memory
from sfbench.trial.state import Trial, inference
from sfbench.values.records import Reading


def try_batches(trial: Trial) -> None:
    """Make batches as the trial will: out of memory is an outcome like any other."""
    from sfbench.generators import contract, execution
    from sfbench.speed.blocks import calls_per_block, time_block
    from sfbench.speed.probe import core_work, e2e_work  # torch comes with it

    case = trial.case
    module = contract.module_of(trial.generator)
    generator = execution.prepared(trial.generator, case.mode, module, trial.backend)
    with inference():
        work = core_work(generator, case.batch, case.seed)
        work()
        once = time_block(work, 1, trial.backend)
        calls = calls_per_block(once.seconds_per_call)
        block = time_block(work, calls, trial.backend)
        e2e_work(generator, case.batch, case.seed)()
    trial.add(Reading(metric="search.rate", value=case.batch / block.seconds_per_call))
    held = {"data": host_memory("VmData"), "peak": host_memory("VmHWM")}
    peaks = trial.backend.peaks()
    if peaks is not None:
        held["reserved"] = peaks.reserved
    for name, value in held.items():
        if value is not None:
            trial.add(Reading(metric=f"search.{name}", value=value))
