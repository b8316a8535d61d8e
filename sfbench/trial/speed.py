"""Steps for speed: throughput, latency, fallback kernels, and the roofline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sfbench.api.protocols import Staged
from sfbench.hardware.policy import out_of_memory, torch_dtype
from sfbench.trial.state import Trial, inference
from sfbench.values.metric_names import CORE, CUSTOM_TIMING, FALLBACK_KERNELS, FLOPS, MFU
from sfbench.values.records import Reading

if TYPE_CHECKING:
    from sfbench.speed.probe import SpeedProbe


def probe_of(trial: Trial) -> SpeedProbe:
    """Return the speed probe of the case; settings other than the protocol's are flagged."""
    from sfbench.speed.probe import SpeedProbe  # torch comes with it

    case = trial.case
    if not case.timing.is_protocol:
        trial.raise_flags([CUSTOM_TIMING])
    return SpeedProbe(
        batch=case.batch,
        seed=case.seed,
        backend=trial.backend,
        phase=trial.phase,
        timing=case.timing,
    )


def time_regions(trial: Trial) -> None:
    """Measure throughput of both regions, then latency."""
    probe = probe_of(trial)
    trial.add(*probe(trial.generator))
    trial.raise_flags(probe.flags)


def is_staged(trial: Trial) -> bool:
    """Return whether the generator is made of parts that can be measured one by one."""
    return isinstance(trial.generator, Staged)


def time_stages(trial: Trial) -> None:
    """Measure one call of each part of the generator."""
    from sfbench.speed.stages import stage_seconds  # torch comes with it

    case, generator = trial.case, trial.generator
    assert isinstance(generator, Staged)  # noqa: S101  # when the step applies
    with inference():
        latents = trial.generator.draw_latents(range(case.seed, case.seed + case.batch))
        trial.add(
            *stage_seconds(
                generator,
                latents,
                batch=case.batch,
                backend=trial.backend,
                timing=case.timing,
            )
        )


def time_core(trial: Trial) -> None:
    """Measure throughput and memory of the core region, and nothing else."""
    from sfbench.speed.memory import measure_memory  # torch comes with it
    from sfbench.speed.probe import core_work

    case = trial.case
    probe = probe_of(trial)
    with inference():
        trial.add(probe.region(trial.generator, "core"))
        work = core_work(trial.generator, case.batch, case.seed, ring=1)
        trial.add(
            *measure_memory(work, batch=case.batch, backend=trial.backend, loaded=trial.loaded)
        )
    trial.raise_flags(probe.flags)


def find_stand_ins(trial: Trial) -> None:
    """Record the slow fallbacks that torch used for operations.

    The profiler uses memory of its own, so this comes after the peaks.
    """
    from sfbench.speed.kernels import fallback_kernels
    from sfbench.speed.probe import core_work  # torch comes with it

    with inference():
        work = core_work(trial.generator, 1, trial.case.seed)
        names = fallback_kernels(work, trial.backend)
    trial.provenance["stand_in_kernels"] = names
    if names:
        trial.raise_flags([FALLBACK_KERNELS])


def measure_roof(trial: Trial) -> None:
    """Compare the measured throughput with the device's roofline."""
    from sfbench.speed.roofline import measured_roofline, roofline_readings  # torch comes with it

    case = trial.case
    if not torch_dtype(case.dtype).is_floating_point:
        trial.add(Reading(metric=MFU, reason=f"no roof is measured for {case.dtype}"))
        return
    values = {reading.metric: reading.value for reading in trial.readings}
    try:
        roofline = measured_roofline(trial.backend, torch_dtype(case.dtype))
    except Exception as error:
        if not out_of_memory(error):
            raise
        # The roofline's matrices do not fit beside the model, whose own numbers are valid.
        trial.add(Reading(metric=MFU, reason="not enough memory left to measure the roofline"))
        return
    trial.add(*roofline_readings(roofline, values.get(FLOPS), values.get(CORE), case.dtype))
