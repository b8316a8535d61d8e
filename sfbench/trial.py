"""The steps of a trial, in the protocol's order: build, check, time, measure memory, judge quality."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfbench import album, cuda, device
from sfbench.api.errors import ContractError, SkippedError, UnsupportedError
from sfbench.api.protocols import ImageGenerator
from sfbench.api.spec import GeneratorSpec
from sfbench.building import build
from sfbench.job import Job
from sfbench.provenance import provenance, training_of
from sfbench.quality.published import EMBEDDED, INCEPTION
from sfbench.records import Reading
from sfbench.registry import Plugin, find_generator, load_plugin, plugin_sources
from sfbench.values.metrics import CORE, FLOPS, METRICS, MFU

if TYPE_CHECKING:
    import torch

    from sfbench.speed.probe import SpeedProbe

MOST_COMPARED = 8
"""Images compared with eager single precision."""
TIMED = frozenset({"speed", "memory", "complexity"})
"""Families of what is measured of a generator, and not of images."""
BEFORE_BUILD = frozenset({"import", "eager fp32 images"})
"""Phases whose memory is not the case's own."""


class Trial:
    """One case in this process: its readings, flags and provenance as they come."""

    def __init__(self, job: Job, emit: Callable[[Mapping[str, Any]], None]) -> None:
        self.job = job
        self.case = job.case
        self.emit = emit
        self.readings: list[Reading] = list(job.notes)
        self.current = ""
        self.flags: list[str] = []
        self.provenance: dict[str, Any] = {}

    def phase(self, name: str) -> None:
        """Tell the parent what comes next, and note the host's peak in what is over."""
        peak = device.host_memory("VmHWM")
        if peak is not None and self.current:
            peaks = self.provenance.setdefault("host_peak_by_phase", {})
            peaks[self.current] = max(peak, peaks.get(self.current, 0))
            device.reset_host_peak()
        self.current = name
        self.emit({"phase": name})

    def host_peak_so_far(self) -> int | None:
        """Return the host's peak since the model's build began; each phase begins a new one."""
        now = device.host_memory("VmHWM")
        if now is None:
            return None
        peaks = self.provenance.get("host_peak_by_phase", {})
        return max(now, *(int(p) for phase, p in peaks.items() if phase not in BEFORE_BUILD), 0)

    def measure(self) -> None:
        """Do the steps of a trial, in the protocol's order."""
        self.phase("import")
        import torch  # noqa: F401  # its import is a cost that is measured

        self.cold("import", time.time() - self.job.spawned, "process start to torch imported")
        device.set_policy(self.case.dtype, self.case.threads)
        self.provenance |= provenance(self.job)
        sources = plugin_sources(self.job.plugins, self.job.disabled)
        plugins = [load_plugin(source) for source in sources if source.name == self.job.plugin]
        plugin, spec = find_generator(plugins, self.case.model)
        self.provenance["plugin"] = {"name": plugin.source.name, "origin": plugin.source.origin}
        if not spec.synthesizes:
            if self.job.task != "trial":
                msg = f"{spec.name} reads images that exist: there is nothing to search or time"
                raise UnsupportedError(msg)
            self.read_only(spec)
            return
        expected = self.expected(spec) if self.job.task == "trial" else None
        if self.job.memory_limit is not None:
            device.limit_memory(self.case.device, self.job.memory_limit)
        resettable = device.reset_host_peak()
        generator = self.built(spec)
        loaded = device.host_memory("VmRSS")
        if self.job.task == "fits":
            self.fits(generator)
            return
        generator = self.checked(generator, expected)
        if self.job.task == "core":
            self.core(generator, loaded)
            return
        from sfbench.speed.memory import cold_readings

        peak = self.host_peak_so_far() if resettable else None
        self.readings.extend(cold_readings(self.case.device, peak))
        self.speed(generator, loaded)
        self.complexity(generator, spec)
        if "quality" in self.case.measure:
            self.quality(generator, spec)
            self.sample(generator)
        self.phase("end")

    def read_only(self, spec: GeneratorSpec) -> None:
        """Measure the quality of images that exist; nothing else can be measured of them."""
        self.skipped(f"{spec.name} reads images that exist: there is nothing to time")
        if "quality" not in self.case.measure:
            msg = f"{spec.name} reads images that exist: only quality can be measured"
            raise SkippedError(msg)
        self.quality(self.built(spec), spec)

    def cold(self, name: str, seconds: float, what: str) -> None:
        """Add a reading of a cost that is paid once."""
        metric = f"cold.{name}"
        self.readings.append(Reading(metric=metric, value=seconds, how={"what": what}))

    def expected(self, spec: GeneratorSpec) -> torch.Tensor | None:
        """Return what eager single precision draws, where the case is neither; else None."""
        if self.case.dtype == "fp32" and self.case.mode == "eager":
            return None
        import torch

        from sfbench import contract  # torch comes with it

        self.phase("eager fp32 images")
        device.set_policy("fp32", self.case.threads)
        plain = dataclasses.replace(self.case, dtype="fp32", mode="eager")
        generator = build(spec, plain, self.case.device)
        seeds = range(min(self.case.batch, MOST_COMPARED))
        images = torch.cat([contract.draw(generator, [seed]) for seed in seeds])
        del generator
        device.set_policy(self.case.dtype, self.case.threads)
        device.release_memory(self.case.device)
        return images

    def built(self, spec: GeneratorSpec) -> ImageGenerator:
        """Return the generator, built with none of torch's global flags changed."""
        self.phase("build")
        flags = device.global_flags()
        start = time.perf_counter()
        generator = build(spec, self.case, self.case.device)
        device.synchronize(self.case.device)
        self.cold("build", time.perf_counter() - start, "build, weights included")
        changed = [name for name, was in flags.items() if device.global_flags()[name] != was]
        if changed:
            msg = f"its plugin changed torch's global {', '.join(changed)}; plugins must not"
            raise ContractError(msg)
        self.provenance["architecture"] = getattr(generator, "architecture", None)
        self.provenance["training"] = training_of(self.case.weights.path)
        return generator

    def fits(self, generator: ImageGenerator) -> None:
        """Make batches as the trial will: out of memory is an outcome like any other."""
        from sfbench import contract, execution
        from sfbench.speed.blocks import calls_per_block, time_block
        from sfbench.speed.probe import core_work, e2e_work  # torch comes with it

        case = self.case
        generator = execution.prepared(generator, case.mode, contract.module_of(generator))
        with inference():
            work = core_work(generator, case.batch, case.seed)
            work()
            once = time_block(work, 1, case.device)
            calls = calls_per_block(once.seconds_per_call)
            block = time_block(work, calls, case.device)
            e2e_work(generator, case.batch, case.seed)()
        rate = self.case.batch / block.seconds_per_call
        self.readings.append(Reading(metric="search.rate", value=rate))
        held = {"data": device.host_memory("VmData"), "peak": device.host_memory("VmHWM")}
        for name, value in held.items():
            if value is not None:
                self.readings.append(Reading(metric=f"search.{name}", value=value))
        if self.case.device == "cuda":
            reserved = cuda.allocator_peaks().reserved
            self.readings.append(Reading(metric="search.reserved", value=reserved))

    def core(self, generator: ImageGenerator, loaded: int | None) -> None:
        """Measure throughput and memory of the core region, and nothing else."""
        from sfbench.speed.memory import measure_memory  # torch comes with it
        from sfbench.speed.probe import core_work

        case = self.case
        probe = self.probe()
        with inference():
            self.readings.append(probe.region(generator, "core"))
            work = core_work(generator, case.batch, case.seed, ring=1)
            self.readings.extend(
                measure_memory(work, batch=case.batch, device=case.device, loaded=loaded)
            )
        self.flags += probe.flags

    def probe(self) -> SpeedProbe:
        """Return the speed probe of the case."""
        from sfbench.speed.probe import SpeedProbe  # torch comes with it

        case = self.case
        return SpeedProbe(batch=case.batch, seed=case.seed, device=case.device, phase=self.phase)

    def checked(self, generator: ImageGenerator, expected: torch.Tensor | None) -> ImageGenerator:
        """Return the generator in the case's mode, its images checked before and after."""
        from sfbench import contract  # torch comes with it

        self.phase("reference check")
        start = time.perf_counter()
        images = contract.check_images(generator, self.case.resolution)
        self.cold("first_call", time.perf_counter() - start, "first images, 3 seeds")
        tolerance = contract.batch_tolerance(self.case.dtype)
        alone = contract.check_batch_independence(generator, images, tolerance)
        self.provenance["reference_check"] = {"alone_against_batch": alone}
        if self.case.mode == "eager" and expected is None:
            return generator
        batch = contract.draw(generator, range(self.case.batch))
        if self.case.mode != "eager":
            generator, ready = self.prepared(generator)
            self.same_images(ready, batch, tolerance)
            batch = ready
        if expected is not None:
            self.readings.append(contract.difference_reading(batch[: len(expected)], expected))
        return generator

    def prepared(self, generator: ImageGenerator) -> tuple[ImageGenerator, torch.Tensor]:
        """Return the generator in the case's mode, and its first batch.

        It is made ready for the case's batch and for one image; later graphs are an error.
        """
        import torch

        from sfbench import contract, execution

        mode = self.case.mode
        self.phase(mode)
        start = time.perf_counter()
        generator = execution.prepared(generator, mode, contract.module_of(generator))
        images = contract.draw(generator, range(self.case.batch))
        self.cold("compile", time.perf_counter() - start, f"{mode} and the first batch")
        contract.draw(generator, range(1))
        if mode in execution.COMPILE_MODES:
            if not execution.graphs():
                msg = f"mode {mode}: its synthesize does not call its module: nothing was compiled"
                raise UnsupportedError(msg)
            self.provenance["graph_breaks"] = execution.graph_breaks()
            torch.compiler.set_stance("fail_on_recompile")
        return generator, images

    def same_images(self, images: torch.Tensor, eager: torch.Tensor, tolerance: float) -> None:
        """Raise ContractError when a mode changes the images by more than rounding."""
        from sfbench import contract

        difference = contract.relative_difference(images, eager)
        allowed = contract.COMPILE_TOLERANCE if self.case.dtype == "fp32" else tolerance
        if not difference <= allowed:
            msg = (
                f"{self.case.mode}: images differ from eager ones by {difference:.1e}, "
                f"over {allowed:.0e}"
            )
            raise ContractError(msg)
        self.provenance["reference_check"]["compiled_against_eager"] = difference

    def speed(self, generator: ImageGenerator, loaded: int | None) -> None:
        """Measure throughput and latency, then memory, then energy."""
        from sfbench import contract  # torch comes with it
        from sfbench.speed.energy import energy_reading
        from sfbench.speed.kernels import fallback_kernels
        from sfbench.speed.memory import measure_memory, weights_reading  # torch
        from sfbench.speed.probe import core_work  # torch

        case = self.case
        if "speed" in case.measure:
            probe = self.probe()
            self.readings.extend(probe(generator))
            self.flags += probe.flags
        with inference():
            if "memory" in case.measure:
                self.phase("memory")
                self.readings.append(weights_reading(contract.module_of(generator)))
                work = core_work(generator, case.batch, case.seed, ring=1)
                self.readings.extend(
                    measure_memory(work, batch=case.batch, device=case.device, loaded=loaded)
                )
            if "speed" in case.measure:
                # The profiler keeps memory of its own: it comes after the peaks.
                self.phase("kernels")
                self.stand_ins(fallback_kernels(core_work(generator, 1, case.seed), case.device))
            if "energy" in case.measure:
                self.phase("energy")
                work = core_work(generator, case.batch, case.seed)
                self.readings.append(energy_reading(work, batch=case.batch, where=case.device))

    def stand_ins(self, names: list[str]) -> None:
        """Note the slow stand-ins that torch used for operations."""
        self.provenance["stand_in_kernels"] = names
        if names:
            self.flags.append("fallback_kernels")

    def complexity(self, generator: ImageGenerator, spec: GeneratorSpec) -> None:
        """Count parameters and operations, and hold them against what the device can do."""
        from sfbench import contract  # torch comes with it
        from sfbench.speed.complexity import complexity  # torch
        from sfbench.speed.roofline import measured_roofline, roofline_readings

        self.phase("counting operations")
        module = contract.module_of(generator)
        self.readings.extend(complexity(module, lambda: build(spec, self.case, "meta")))
        if "speed" not in self.case.measure:
            return
        self.phase("roofline")
        values = {reading.metric: reading.value for reading in self.readings}
        try:
            roofline = measured_roofline(self.case.device, device.torch_dtype(self.case.dtype))
        except Exception as error:
            if not device.out_of_memory(error):
                raise
            # The matrices of the roof found no room beside the model: its own numbers stand.
            reason = "no memory was left to measure the device's roof"
            self.readings.append(Reading(metric=MFU, reason=reason))
            return
        self.readings.extend(
            roofline_readings(roofline, values[FLOPS], values.get(CORE), self.case.dtype)
        )

    def skipped(self, reason: str) -> None:
        """Add what is not measured, with the reason."""
        for metric in METRICS:
            if metric.column is not None and metric.family in TIMED and not metric.needs:
                self.readings.append(Reading(metric=metric.name, reason=reason))

    def quality(self, generator: ImageGenerator, spec: GeneratorSpec) -> None:
        """Compare generated with real images."""
        import torch

        from sfbench.data.sources import open_dataset  # torch comes with it
        from sfbench.quality.extractors import open_extractor
        from sfbench.quality.probe import QualityProbe  # torch

        self.phase("quality")
        if self.case.mode.startswith("compile"):
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

    def sample(self, generator: ImageGenerator) -> None:
        """Draw a row of images into the album of the store, for people to see."""
        if self.job.pictures is None:
            return
        from sfbench.inspection.portrait import SAMPLE_SEEDS, keep, samples  # torch comes with it

        self.phase("samples")
        case = self.case.inputs()
        how = {"seeds": list(SAMPLE_SEEDS), "dtype": case["dtype"], "device": case["device"]}
        try:
            with inference():
                picture = samples(generator, SAMPLE_SEEDS, self.case.batch)
            keep(picture, "samples", album.place(Path(self.job.pictures), case), case, how)
        except Exception as error:  # noqa: BLE001  # a picture must not cost what was measured
            self.provenance["samples"] = f"not kept: {type(error).__name__}: {error}"

    def extractor_plugins(self) -> list[Plugin]:
        """Return the plugins that may offer the case's extractor; none for a built-in one."""
        if self.case.extractor.kind in {INCEPTION, EMBEDDED}:
            return []
        return [load_plugin(s) for s in plugin_sources(self.job.plugins, self.job.disabled)]


@contextlib.contextmanager
def inference() -> Iterator[None]:
    """Run without gradients."""
    import torch  # slow

    with torch.inference_mode():
        yield
