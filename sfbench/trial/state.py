"""The state of a trial during its steps: readings, flags, provenance, the generator."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from sfbench.api.protocols import ImageGenerator
from sfbench.api.spec import GeneratorSpec
from sfbench.hardware.devices import find_backend
from sfbench.hardware.host import host_memory, reset_host_peak
from sfbench.values.job import Job
from sfbench.values.records import Reading

if TYPE_CHECKING:
    import torch

START = "start"
"""The phase from the start of the process to its first step."""
BEFORE_BUILD = frozenset({"import", "eager fp32 images"})
"""Phases whose memory is not the case's own."""


class Trial:
    """One case in this process: its readings, flags and provenance as they come.

    Steps fill in `spec`, then `expected` (images of eager single precision, where they are
    needed), `generator`, `loaded` (resident bytes once it was built) and `resettable` (whether the
    host's peak can be reset). `untimed`: why there is nothing to time.
    """

    def __init__(self, job: Job, emit: Callable[[Mapping[str, Any]], None]) -> None:
        self.job = job
        self.case = job.case
        self.backend = find_backend(job.case.device)
        self.emit = emit
        self.readings: list[Reading] = list(job.notes)
        self.current = START
        # Only the system's clock is shared with the process that started this one.
        started = time.time() - job.spawned if job.spawned else 0.0
        self.phase_began = time.perf_counter() - max(0.0, started)
        self.flags: list[str] = []
        self.provenance: dict[str, Any] = {}
        self.untimed: str | None = None
        self.expected: torch.Tensor | None = None
        self.loaded: int | None = None
        self.resettable = False
        self._spec: GeneratorSpec | None = None
        self._generator: ImageGenerator | None = None

    @property
    def spec(self) -> GeneratorSpec:
        """The model, once its plugin is loaded."""
        assert self._spec is not None  # noqa: S101  # the steps' order
        return self._spec

    @spec.setter
    def spec(self, spec: GeneratorSpec) -> None:
        self._spec = spec

    @property
    def generator(self) -> ImageGenerator:
        """The generator, once it is built; later in the case's mode."""
        assert self._generator is not None  # noqa: S101  # the steps' order
        return self._generator

    @generator.setter
    def generator(self, generator: ImageGenerator) -> None:
        self._generator = generator

    def add(self, *readings: Reading) -> None:
        """Add readings."""
        self.readings.extend(readings)

    def raise_flags(self, flags: Iterable[str]) -> None:
        """Add flags, each once."""
        self.flags += [flag for flag in dict.fromkeys(flags) if flag not in self.flags]

    def cold(self, name: str, seconds: float, what: str) -> None:
        """Add a reading of a one-time cost."""
        prefix = "warm" if self.job.task == "warm" else "cold"
        self.add(Reading(metric=f"{prefix}.{name}", value=seconds, how={"what": what}))

    def phase(self, name: str) -> None:
        """End the last phase, and report the next one to the parent."""
        self.end_phase()
        self.current, self.phase_began = name, time.perf_counter()
        self.emit({"phase": name})

    def end_phase(self) -> None:
        """Record the seconds of the phase, and the host's peak in it."""
        # Pairs: the keys of a record's objects are sorted, and phases have an order.
        seconds = self.provenance.setdefault("phase_seconds", [])
        seconds.append([self.current, time.perf_counter() - self.phase_began])
        peak = host_memory("VmHWM")
        if peak is not None and self.current != START:
            peaks = self.provenance.setdefault("host_peak_by_phase", {})
            peaks[self.current] = max(peak, peaks.get(self.current, 0))
            reset_host_peak()

    def host_peak_so_far(self) -> int | None:
        """Return the host's peak since the model's build began; each phase begins a new one."""
        now = host_memory("VmHWM")
        if now is None:
            return None
        peaks = self.provenance.get("host_peak_by_phase", {})
        return max(now, *(int(p) for phase, p in peaks.items() if phase not in BEFORE_BUILD), 0)


@contextlib.contextmanager
def inference() -> Iterator[None]:
    """Run without gradients."""
    import torch  # slow

    with torch.inference_mode():
        yield
