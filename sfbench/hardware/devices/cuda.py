"""NVIDIA GPUs: torch's allocator and graphs, the device's clock, and the driver's counters."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from sfbench.hardware.backend import AllocatorPeaks, Backend, ClockState, event_span
from sfbench.hardware.places import Place, near

if TYPE_CHECKING:
    from torch import Tensor

HELD_DOWN = 0x4 | 0x8 | 0x20 | 0x40 | 0x80
"""NVML's reasons for lower clocks: power cap, slowdown, heat (software, hardware), power brake."""
CAPTURE_WARM_UPS = 3


class CudaBackend(Backend):
    """One NVIDIA GPU. torch counts the devices that CUDA_VISIBLE_DEVICES leaves; so does `index`."""

    kind: ClassVar[str] = "cuda"
    preference: ClassVar[int] = 20
    visibility_variable: ClassVar[str | None] = "CUDA_VISIBLE_DEVICES"
    default_samples: ClassVar[int] = 50_000
    warmup_seconds: ClassVar[float] = 2.0
    roof_side: ClassVar[int] = 8192
    roof_bytes: ClassVar[int] = 1 << 30
    precisions: ClassVar[frozenset[str]] = frozenset({"fp32", "tf32", "bf16", "fp16"})
    process_group: ClassVar[str] = "nccl"
    memory_limit_acts_on: ClassVar[str] = "torch's CUDA allocator"
    energy_counter: ClassVar[str] = "NVML total energy of the GPU"

    @classmethod
    def present(cls) -> list[dict[str, Any]]:
        """Return name, driver, memory and state of every GPU, asked of the driver."""
        import pynvml  # only where hardware is asked about

        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError:
            return []
        try:
            driver = pynvml.nvmlSystemGetDriverVersion()
            count = pynvml.nvmlDeviceGetCount()
            handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(count)]
            return [facts(handle, str(driver)) for handle in handles]
        finally:
            pynvml.nvmlShutdown()

    @classmethod
    def places(cls, shown: str | None) -> list[Place]:
        """Return the GPUs that CUDA_VISIBLE_DEVICES leaves, in its order, else in the driver's."""
        there = cls.present()
        if shown is None:
            return [place_of(index, facts, str(facts["uuid"])) for index, facts in enumerate(there)]
        found = []
        for index, word in enumerate(filter(None, shown.split(","))):
            named = [facts for facts in there if str(facts["uuid"]).startswith(word)]
            if word.isdecimal() and int(word) < len(there):
                named = [there[int(word)]]
            if word.startswith("MIG-"):
                found.append(place_of(index, part_of_gpu(word), word))
            elif named:
                # By its name: CUDA may count in another order than the driver.
                found.append(place_of(index, named[0], str(named[0]["uuid"])))
            else:
                break  # as CUDA does: what comes after a wrong one is not seen
        return found

    def processor(self) -> str:
        """Return the GPU's name."""
        import torch  # slow

        return str(torch.cuda.get_device_name(self.index))

    def use(self) -> None:
        """Compute on this GPU."""
        import torch  # slow

        torch.cuda.set_device(self.index)

    def of_process(self, local_rank: int) -> Backend:
        """Return the GPU of that number: each process computes on its own."""
        return CudaBackend(local_rank)

    def identity(self) -> dict[str, str] | None:
        """Return name and UUID."""
        import torch  # slow

        properties = torch.cuda.get_device_properties(self.index)
        return {"name": properties.name, "uuid": str(getattr(properties, "uuid", "unknown"))}

    def synchronize(self) -> None:
        """Wait for the GPU."""
        import torch  # slow

        torch.cuda.synchronize(self.index)

    def span(self) -> contextlib.AbstractContextManager[list[float]]:
        """Measure a span by events on the GPU."""
        import torch  # slow

        return event_span(lambda: torch.cuda.Event(enable_timing=True))  # type: ignore[no-untyped-call]  # torch

    def reset_peaks(self) -> None:
        """Empty the allocator's cache and begin its peaks again."""
        import torch  # slow

        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(self.index)

    def peaks(self) -> AllocatorPeaks | None:
        """Return the peaks of torch's CUDA allocator; it has no counters before its first tensor."""
        import torch  # slow

        stats = torch.cuda.memory_stats(self.index)
        return AllocatorPeaks(
            allocated=stats.get("allocated_bytes.all.peak", 0),
            requested=stats.get("requested_bytes.all.peak", 0),
            reserved=stats.get("reserved_bytes.all.peak", 0),
            retries=stats.get("num_alloc_retries", 0),
        )

    def pools(self) -> dict[str, int]:
        """Return the bytes held by pool: "default", and one per graph pool."""
        import torch  # slow

        held: dict[str, int] = {}
        for segment in torch.cuda.memory_snapshot():  # type: ignore[no-untyped-call]  # torch
            if segment.get("device", self.index) != self.index:
                continue
            pool = tuple(segment.get("segment_pool_id", (0, 0)))
            name = "default" if pool == (0, 0) else "graph " + ".".join(map(str, pool))
            held[name] = held.get(name, 0) + int(segment["total_size"])
        return held

    def bytes_in_use(self) -> int | None:
        """Return the bytes in use on the whole GPU."""
        import torch  # slow

        free, total = torch.cuda.mem_get_info(self.index)
        return total - free

    def limit_memory(self, limit: int) -> None:
        """Make torch's allocator run out beyond `limit` bytes."""
        import torch  # slow

        _, total = torch.cuda.mem_get_info(self.index)
        torch.cuda.set_per_process_memory_fraction(min((limit + 1) / total, 1.0), self.index)

    def clock(self) -> ClockState | None:
        """Return the clock of the streaming multiprocessors; None in it for what NVML does not say."""
        import pynvml  # only where hardware is asked about

        reasons = self.asked(pynvml.nvmlDeviceGetCurrentClocksEventReasons)
        return ClockState(
            self.asked(lambda handle: pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM)),
            reasons,
            held_down=bool((reasons or 0) & HELD_DOWN),
        )

    def energy_joules(self) -> float | None:
        """Return the driver's counter of energy since it was loaded."""
        import pynvml  # only where hardware is asked about

        millijoules = self.asked(pynvml.nvmlDeviceGetTotalEnergyConsumption)
        return None if millijoules is None else millijoules / 1000

    def asked(self, question: Callable[[Any], Any]) -> Any:
        """Return the driver's answer about this GPU, or None."""
        import pynvml  # only where hardware is asked about
        import torch  # slow

        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError:
            return None
        try:
            uuid = torch.cuda.get_device_properties(self.index).uuid
            return question(pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}"))
        except (pynvml.NVMLError, AttributeError):
            return None
        finally:
            pynvml.nvmlShutdown()

    def captured(self, work: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        """Return a CUDA graph of `work`."""
        import torch  # slow

        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(CAPTURE_WARM_UPS):
                work()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            output = work()
        return graph.replay, output

    def upload(self, tensor: Tensor) -> Tensor:
        """Return the tensor on the GPU; the copy from pinned memory does not wait."""
        return tensor.pin_memory().to(self.name, non_blocking=True)


def part_of_gpu(uuid: str) -> dict[str, Any]:
    """Return what the driver says of a part of a GPU (MIG): its model names its size."""
    import pynvml  # only where hardware is asked about

    found: dict[str, Any] = {"name": "MIG device", "uuid": uuid}
    with contextlib.suppress(pynvml.NVMLError):
        pynvml.nvmlInit()
        try:
            handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
            found["name"] = str(pynvml.nvmlDeviceGetName(handle))
            found["driver"] = str(pynvml.nvmlSystemGetDriverVersion())
        finally:
            pynvml.nvmlShutdown()
    return found


def place_of(index: int, facts: Mapping[str, Any], shown: str) -> Place:
    """Return one GPU as a place; `shown`: its name in CUDA_VISIBLE_DEVICES."""
    processors, node = near(str(facts.get("pci") or ""))
    return Place(
        kind=CudaBackend.kind,
        index=index,
        name=str(facts["name"]),
        unique=str(facts.get("uuid") or shown),
        driver=str(facts.get("driver") or "unknown"),
        shown=shown,
        processors=processors,
        memory_node=node,
    )


def facts(handle: Any, driver: str) -> dict[str, Any]:
    """Return what the driver says of one GPU; a question it does not answer is None."""
    import pynvml  # only where hardware is asked about

    def asked(question: Any, *arguments: Any) -> Any:
        try:
            return question(handle, *arguments)
        except pynvml.NVMLError:
            return None

    memory = asked(pynvml.nvmlDeviceGetMemoryInfo)
    pci = asked(pynvml.nvmlDeviceGetPciInfo)
    reasons = asked(pynvml.nvmlDeviceGetCurrentClocksEventReasons)
    processes = asked(pynvml.nvmlDeviceGetComputeRunningProcesses)
    return {
        "name": str(asked(pynvml.nvmlDeviceGetName)),
        "driver": driver,
        "uuid": asked(pynvml.nvmlDeviceGetUUID),
        "pci": None if pci is None else pci.busId,
        "memory_bytes": None if memory is None else int(memory.total),
        "power_limit_milliwatts": asked(pynvml.nvmlDeviceGetEnforcedPowerLimit),
        "sm_clock_mhz": asked(pynvml.nvmlDeviceGetClockInfo, pynvml.NVML_CLOCK_SM),
        "clock_reasons": reasons,
        "held_down": bool((reasons or 0) & HELD_DOWN),
        "other_processes": None if processes is None else len(processes),
    }


DEVICE = CudaBackend
