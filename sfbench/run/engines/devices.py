"""Several devices of this machine: one worker for each, on its share of the processors."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from sfbench.api.errors import DataError
from sfbench.hardware.living import this_host
from sfbench.hardware.places import Place
from sfbench.run.engines.command import worker_command

PATIENCE_SECONDS = 10.0
"""How long a worker may take to end its trial and release its claim."""


class DeviceWorkers:
    """The workers of this machine, one a device; what they print is in `logs`."""

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self.started: list[tuple[Place, subprocess.Popen[bytes]]] = []

    def start(
        self,
        plan: Path,
        store: Path,
        found: Sequence[Place],
        *,
        trusted: bool,
        share: Sequence[str] = (),
    ) -> None:
        """Start one worker for each of these devices; raises DataError if nothing can be written."""
        for place, processors in shares(found):
            device = f"{place.kind}:{place.index}"
            command = worker_command(plan, store, device, trusted=trusted, share=share)
            try:
                self.logs.mkdir(parents=True, exist_ok=True)
                log = self.log(place).open("wb")
            except OSError as error:
                msg = f"{self.log(place)}: cannot be written ({error.strerror})"
                raise DataError(msg) from None
            with log, kept_to(processors):
                worker = subprocess.Popen(  # noqa: S603  # this program
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
                )
            self.started.append((place, worker))

    def log(self, place: Place) -> Path:
        """Return the file of what a device's worker prints."""
        return self.logs / f"{this_host()}-{os.getpid()}-{place.kind}-{place.index}.log"

    def is_working(self) -> bool:
        """Return whether any worker runs."""
        return any(worker.poll() is None for _, worker in self.started)

    def wait(self, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait for workers that have nothing left to do: each ends by itself."""
        until = time.monotonic() + seconds
        for _, worker in self.started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.wait(max(0.0, until - time.monotonic()))

    def failures(self) -> list[str]:
        """Return the last line of each worker that has ended with an error; ask before `end`."""
        found = []
        for place, worker in self.started:
            if worker.poll() not in {None, 0, 1}:
                lines = self.log(place).read_text(errors="replace").strip().splitlines()
                last = lines[-1] if lines else worker.returncode
                found.append(f"{place.kind}:{place.index}: {last}")
        return found

    def end(self) -> None:
        """End all workers: each ends its trial and releases its claim."""
        for _, worker in self.started:
            with contextlib.suppress(ProcessLookupError):
                worker.send_signal(signal.SIGTERM)
        for _, worker in self.started:
            try:
                worker.wait(PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()


def shares(found: Sequence[Place]) -> Iterator[tuple[Place, tuple[int, ...]]]:
    """Yield each device with its processors: devices near the same ones have a part of them each."""
    every = tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else ()
    near = [place.processors or every for place in found]
    for number, place in enumerate(found):
        rivals = [other for other in range(len(found)) if near[other] == near[number]]
        part = len(near[number]) // len(rivals)
        first = rivals.index(number) * part
        yield place, near[number][first : first + part] if part else near[number]


@contextlib.contextmanager
def kept_to(processors: Sequence[int]) -> Iterator[None]:
    """Keep what is started meanwhile to these processors; this process is not after that."""
    if not processors or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, processors)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
