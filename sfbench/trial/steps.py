"""A trial is this table of steps, in the protocol's order; tasks and measures are selections of it.

The identity of a trial covers what the steps of its families can reach (see `run.identity`), so
each family's steps are a separate module.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal

from sfbench.api.errors import ContractError
from sfbench.hardware.policy import changed_flags, global_flags, restore_flags
from sfbench.trial import (
    complexity,
    energy,
    memory,
    origin_of_weights,
    preparing,
    quality,
    samples,
    search,
    speed,
)
from sfbench.trial.state import Trial
from sfbench.values.case import Measure
from sfbench.values.job import Task

Part = Literal[
    "preparing", "search", "speed", "memory", "energy", "complexity", "quality", "samples"
]
TRIAL: frozenset[Task] = frozenset({"trial"})
CHECKED: frozenset[Task] = frozenset({"trial", "core", "warm", "help"})
EVERY: frozenset[Task] = CHECKED | {"fits"}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step: its name in progress messages, its family, and when it applies.

    `title` is empty for a step without a phase of its own. `tasks`: the jobs it is part of;
    `measures`: it applies if the case measures one of them (empty: always) and `when` holds.
    `images`: it also applies to existing images, which are not generated here.
    """

    title: str
    run: Callable[[Trial], None]
    part: Part
    tasks: frozenset[Task] = TRIAL
    measures: frozenset[Measure] = frozenset()
    when: Callable[[Trial], bool] = lambda _: True
    images: bool = False
    sets_policy: bool = False

    def applies(self, trial: Trial) -> bool:
        """Return whether the step is part of this trial."""
        asked = not self.measures or bool(self.measures & set(trial.case.measure))
        generated = self.images or trial.untimed is None
        return trial.job.task in self.tasks and asked and generated and self.when(trial)


PERFORMANCE: frozenset[Measure] = frozenset({"speed", "memory", "energy", "min-memory"})
STEPS = (
    Step(
        title="import",
        run=preparing.import_torch,
        part="preparing",
        tasks=EVERY,
        images=True,
        sets_policy=True,
    ),
    Step(title="", run=preparing.load_model, part="preparing", tasks=EVERY, images=True),
    Step(
        title="eager fp32 images",
        run=preparing.draw_expected,
        part="preparing",
        when=lambda trial: not preparing.is_plain(trial),
    ),
    Step(
        title="",
        run=preparing.limit_memory,
        part="preparing",
        tasks=EVERY,
        when=lambda trial: trial.job.memory_limit is not None,
    ),
    Step(title="build", run=preparing.build_generator, part="preparing", tasks=EVERY, images=True),
    Step(title="", run=search.try_batches, part="search", tasks=frozenset({"fits"})),
    Step(title="reference check", run=preparing.check_generator, part="preparing", tasks=CHECKED),
    Step(title="", run=speed.time_core, part="speed", tasks=frozenset({"core"})),
    Step(title="", run=memory.note_cold_peaks, part="memory", measures=PERFORMANCE),
    Step(title="", run=speed.time_regions, part="speed", measures=frozenset({"speed"})),
    Step(
        title="time of parts",
        run=speed.time_stages,
        part="speed",
        measures=frozenset({"speed"}),
        when=speed.is_staged,
    ),
    Step(title="memory", run=memory.measure_peaks, part="memory", measures=frozenset({"memory"})),
    Step(
        title="memory of parts",
        run=memory.measure_stages,
        part="memory",
        measures=frozenset({"memory"}),
        when=memory.is_staged,
    ),
    Step(title="kernels", run=speed.find_stand_ins, part="speed", measures=frozenset({"speed"})),
    Step(title="energy", run=energy.measure_energy, part="energy", measures=frozenset({"energy"})),
    Step(
        title="counting operations",
        run=complexity.count_operations,
        part="complexity",
        measures=PERFORMANCE,
    ),
    Step(title="roofline", run=speed.measure_roof, part="speed", measures=frozenset({"speed"})),
    Step(
        title="quality",
        run=quality.judge_images,
        part="quality",
        measures=frozenset({"quality"}),
        images=True,
    ),
    Step(title="quality", run=quality.help_out, part="quality", tasks=frozenset({"help"})),
    Step(
        title="samples",
        run=samples.keep_samples,
        part="samples",
        measures=frozenset({"quality"}),
        when=lambda trial: trial.job.pictures is not None,
    ),
    Step(
        title="origin of weights",
        run=origin_of_weights.find_loaded_weights,
        part="preparing",
        when=origin_of_weights.has_random_weights,
    ),
)


def carry_out(trial: Trial) -> None:
    """Run the steps that apply, in order."""
    for step in STEPS:
        if step.applies(trial):
            if step.title:
                trial.phase(step.title)
            flags = None if step.sets_policy else global_flags()
            step.run(trial)
            if flags is not None:
                check_flags(flags, step.title or step.part)
    trial.end_phase()


def check_flags(before: Mapping[str, Any], where: str) -> None:
    """Raise ContractError where a plugin's code changed torch's process-wide switches in a step."""
    changed = changed_flags(before)
    if changed:
        restore_flags(before)
        msg = f"its plugin changed torch's global {', '.join(changed)} ({where}); plugins must not"
        raise ContractError(msg)


def modules_of(measures: frozenset[Measure]) -> tuple[str, ...]:
    """Return the modules of the steps that a trial of these measures goes through.

    A search decides the batch size of the trial after it. No number depends on samples.
    """
    searched = bool(measures & PERFORMANCE)
    steps = (
        step
        for step in STEPS
        if step.part != "samples"
        and ("trial" in step.tasks or (step.part == "search" and searched))
        and (not step.measures or step.measures & measures)
    )
    return tuple(sorted({step.run.__module__ for step in steps}))
