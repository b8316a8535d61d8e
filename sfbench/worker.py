"""What runs inside a trial's process: build the generator, probe it, write the record.

    python -m sfbench.worker JOB.json RECORD.json EVENT_DESCRIPTOR

Events (phases and image counts) go as JSON lines to the descriptor, never inside a timed block.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfbench import device
from sfbench.api.errors import (
    ContractError,
    NonFiniteError,
    SfbenchError,
    SkippedError,
    UnsupportedError,
)
from sfbench.api.protocols import ImageGenerator
from sfbench.api.spec import GeneratorSpec
from sfbench.building import build
from sfbench.job import Job, case_document, job_from_json
from sfbench.quality.published import EMBEDDED, INCEPTION
from sfbench.records import Reading, Record, Status, record_to_json
from sfbench.registry import Plugin, find_generator, load_plugin, plugin_sources

if TYPE_CHECKING:
    import torch

STARTED = time.perf_counter()
REASON_LENGTH = 400


class Trial:
    """One case in this process: its readings, flags and provenance as they come."""

    def __init__(self, job: Job, emit: Callable[[Mapping[str, Any]], None]) -> None:
        self.job = job
        self.case = job.case
        self.emit = emit
        self.readings: list[Reading] = []
        self.flags: list[str] = []
        self.provenance: dict[str, Any] = {}
        self.started = datetime.now(UTC)

    def phase(self, name: str) -> None:
        """Tell the parent what comes next."""
        self.emit({"phase": name})

    def run(self) -> Record:
        """Measure the case; every failure becomes the record's status and reason."""
        status: Status = "ok"
        reason = None
        try:
            self.measure()
        except Exception as error:  # noqa: BLE001  # whatever a model raises is this case's outcome
            status = status_of(error)
            reason = shortened(error)
        return Record(
            identity=self.job.identity,
            case_key=self.case.key(),
            case=case_document(self.case),
            trial=self.job.trial,
            attempt=self.job.attempt,
            status=status,
            reason=reason,
            readings=tuple(self.readings),
            flags=tuple(self.flags),
            machine=self.job.machine,
            provenance=self.provenance,
            started=self.started.isoformat(timespec="seconds"),
            seconds=time.perf_counter() - STARTED,
        )

    def measure(self) -> None:
        """Do the steps of a trial, in the protocol's order."""
        self.phase("import")
        import torch  # noqa: F401  # its import is a cost that is measured

        self.cold("import", time.time() - self.job.spawned, "process start to torch imported")
        device.set_policy(self.case.dtype, self.case.threads)
        self.provenance |= provenance(self.job)
        flags = device.global_flags()
        sources = plugin_sources(self.job.plugins, self.job.disabled)
        plugins = [load_plugin(source) for source in sources if source.name == self.job.plugin]
        plugin, spec = find_generator(plugins, self.case.model)
        self.provenance["plugin"] = {"name": plugin.source.name, "origin": plugin.source.origin}
        generator = self.built(spec, flags)
        loaded = device.host_memory("VmRSS")
        if spec.synthesizes:
            self.checked(generator)
            self.speed(generator, loaded)
            self.complexity(generator, spec)
        else:
            self.skipped(f"{spec.name} reads images that exist: there is nothing to time")
            if "quality" not in self.case.measure:
                msg = f"{spec.name} reads images that exist: only quality can be measured"
                raise SkippedError(msg)
        if "quality" in self.case.measure:
            self.quality(generator, spec)

    def cold(self, name: str, seconds: float, what: str) -> None:
        """Add a reading of a cost that is paid once."""
        metric = f"cold.{name}"
        self.readings.append(Reading(metric=metric, unit="s", value=seconds, how={"what": what}))

    def built(self, spec: GeneratorSpec, flags: Mapping[str, Any]) -> ImageGenerator:
        """Return the generator, built with none of torch's global `flags` changed."""
        self.phase("build")
        start = time.perf_counter()
        generator = build(spec, self.case, self.case.device)
        device.synchronize(self.case.device)
        self.cold("build", time.perf_counter() - start, "build, weights included")
        changed = [name for name, was in flags.items() if device.global_flags()[name] != was]
        if changed:
            msg = f"its plugin changed torch's global {', '.join(changed)}; plugins must not"
            raise ContractError(msg)
        self.provenance["architecture"] = getattr(generator, "architecture", None)
        return generator

    def checked(self, generator: ImageGenerator) -> None:
        """Check the images of a few seeds, before and after compilation."""
        from sfbench import contract  # torch comes with it

        self.phase("reference check")
        start = time.perf_counter()
        images = contract.check_images(generator, self.case.resolution)
        self.cold("first_call", time.perf_counter() - start, "first images, 3 seeds")
        tolerance = contract.batch_tolerance(self.case.dtype)
        alone = contract.check_batch_independence(generator, images, tolerance)
        self.provenance["reference_check"] = {"alone_against_batch": alone}
        if self.case.mode != "compile":
            return
        module = contract.module_of(generator)
        if module is None:
            msg = "mode compile needs a generator with an nn.Module"
            raise UnsupportedError(msg)
        self.compiled(generator, module, tolerance)

    def compiled(
        self, generator: ImageGenerator, module: torch.nn.Module, tolerance: float
    ) -> None:
        """Compile for the case's batch and for one image; check the images, allow no more graphs."""
        import torch

        from sfbench import contract

        self.phase("compile")
        seeds = range(self.case.batch)
        eager = contract.draw(generator, seeds)
        start = time.perf_counter()
        module.compile(dynamic=False)
        images = contract.draw(generator, seeds)
        self.cold("compile", time.perf_counter() - start, "torch.compile and the first batch")
        if not torch._dynamo.utils.counters["stats"]["unique_graphs"]:  # noqa: SLF001  # no public count
            msg = "mode compile: its synthesize does not call its module, so nothing was compiled"
            raise UnsupportedError(msg)
        difference = contract.relative_difference(images, eager)
        allowed = contract.COMPILE_TOLERANCE if self.case.dtype == "fp32" else tolerance
        if not difference <= allowed:
            msg = f"compiled images differ from eager ones by {difference:.1e}, over {allowed:.0e}"
            raise ContractError(msg)
        self.provenance["reference_check"]["compiled_against_eager"] = difference
        contract.draw(generator, seeds[:1])
        torch.compiler.set_stance("fail_on_recompile")

    def speed(self, generator: ImageGenerator, loaded: int | None) -> None:
        """Measure throughput and latency, then memory."""
        from sfbench import contract  # torch comes with it
        from sfbench.speed.memory import measure_memory, weights_reading  # torch
        from sfbench.speed.probe import SpeedProbe, core_work  # torch

        case = self.case
        if "speed" in case.measure:
            probe = SpeedProbe(
                batch=case.batch, seed=case.seed, device=case.device, phase=self.phase
            )
            self.readings.extend(probe(generator))
            self.flags += probe.flags
        if "memory" in case.measure:
            self.phase("memory")
            self.readings.append(weights_reading(contract.module_of(generator)))
            with inference():
                work = core_work(generator, case.batch, case.seed, ring=1)
                self.readings.extend(
                    measure_memory(work, batch=case.batch, device=case.device, loaded=loaded)
                )

    def complexity(self, generator: ImageGenerator, spec: GeneratorSpec) -> None:
        """Count parameters and operations."""
        from sfbench import contract  # torch comes with it
        from sfbench.speed.complexity import complexity  # torch

        self.phase("counting operations")
        self.readings.extend(
            complexity(contract.module_of(generator), lambda: build(spec, self.case, "meta"))
        )

    def skipped(self, reason: str) -> None:
        """Add what is not measured, with the reason."""
        for metric, unit in SKIPPED:
            self.readings.append(Reading(metric=metric, unit=unit, reason=reason))

    def quality(self, generator: ImageGenerator, spec: GeneratorSpec) -> None:
        """Compare generated with real images."""
        import torch

        from sfbench.data.sources import open_dataset  # torch comes with it
        from sfbench.quality.extractors import open_extractor
        from sfbench.quality.probe import QualityProbe  # torch

        self.phase("quality")
        if self.case.mode == "compile":
            # The last batch may be smaller than the others: a graph of its own is no fault here.
            torch.compiler.set_stance("default")
        last = 0.0

        def progress(what: str, done: int, total: int) -> None:
            nonlocal last
            if time.perf_counter() - last > 1 or done == total:
                last = time.perf_counter()
                self.emit({"phase": what, "done": done, "total": total})

        probe = QualityProbe(
            dataset=open_dataset(self.case.data, self.case.resolution),
            extractor=open_extractor(
                self.case.extractor, self.case.device, plugins=self.extractor_plugins()
            ),
            samples=self.case.samples,
            seed=self.case.seed,
            batch=self.case.batch,
            device=self.case.device,
            store=Path(self.job.features),
            progress=progress,
        )
        found = list(probe(generator))
        self.readings.extend(found)
        if any(sum(reading.how.get("unreadable", ())) for reading in found):
            self.flags.append("unreadable")
        if not spec.synthesizes and all(reading.value is None for reading in found):
            raise SkippedError(found[0].reason)

    def extractor_plugins(self) -> list[Plugin]:
        """Return the plugins that may offer the case's extractor; none for a built-in one."""
        if self.case.extractor.kind in {INCEPTION, EMBEDDED}:
            return []
        return [load_plugin(s) for s in plugin_sources(self.job.plugins, self.job.disabled)]


SKIPPED = (
    ("throughput.core", "images/s"),
    ("throughput.e2e", "images/s"),
    ("latency.p50", "s"),
    ("memory.weights", "bytes"),
    ("memory.host_peak", "bytes"),
    ("parameters", ""),
    ("flops", "FLOP/image"),
)


@contextlib.contextmanager
def inference() -> Iterator[None]:
    """Run without gradients."""
    import torch  # slow

    with torch.inference_mode():
        yield


def provenance(job: Job) -> dict[str, Any]:
    """Return how the trial was made: machine, versions, policy, environment."""
    return {
        "machine": device.machine_class(),
        "gpu": device.current_gpu() if job.case.device == "cuda" else None,
        "gpus": device.gpus() if job.case.device == "cuda" else [],
        "cpu_quota": device.cpu_quota(),
        "cpu_pressure_percent": device.pressure(),
        "flags": device.global_flags(),
        "environment": dict(job.environment),
    }


def status_of(error: Exception) -> Status:
    """Return the status that an exception stands for."""
    if device.out_of_memory(error):
        return "oom"
    if isinstance(error, NonFiniteError):
        return "nonfinite"
    if isinstance(error, ContractError):
        return "contract_failed"
    if isinstance(error, UnsupportedError):
        return "unsupported"
    if isinstance(error, SkippedError):
        return "skipped"
    return "error"


def shortened(error: Exception) -> str:
    """Return an error in one line."""
    lines = str(error).strip().splitlines()
    text = lines[0] if lines else ""
    return (text if isinstance(error, SfbenchError) else f"{type(error).__name__}: {text}")[
        :REASON_LENGTH
    ]


def main(job_file: str, record_file: str, descriptor: str) -> None:
    """Carry out the job and write the record."""
    events = os.fdopen(int(descriptor), "w", buffering=1)

    def emit(event: Mapping[str, Any]) -> None:
        events.write(json.dumps(event) + "\n")

    job = job_from_json(Path(job_file).read_text(encoding="utf-8"))
    record = Trial(job, emit).run()
    part = Path(record_file + ".part")
    part.write_text(record_to_json(record), encoding="utf-8")
    part.rename(record_file)


if __name__ == "__main__":
    main(*sys.argv[1:4])
