"""What only an NVIDIA GPU has: its allocator, graphs, own clock, and the driver's counters.

With `device`, the only files that ask torch and the drivers about hardware.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

HELD_DOWN = 0x4 | 0x8 | 0x20 | 0x40 | 0x80
"""NVML's reasons for lower clocks: power cap, slowdown, heat (software, hardware), power brake."""
CAPTURE_WARM_UPS = 3


@dataclasses.dataclass(frozen=True, slots=True)
class AllocatorPeaks:
    """Bytes that torch's CUDA allocator gave out at most, held at most, and its retries."""

    allocated: int
    requested: int
    reserved: int
    retries: int
    """Since the process started."""


def allocator_peaks() -> AllocatorPeaks:
    """Return the CUDA allocator's peaks since `reset_allocator_peaks`."""
    import torch  # slow

    stats = torch.cuda.memory_stats()
    return AllocatorPeaks(
        allocated=stats["allocated_bytes.all.peak"],
        requested=stats["requested_bytes.all.peak"],
        reserved=stats["reserved_bytes.all.peak"],
        retries=stats["num_alloc_retries"],
    )


def reset_allocator_peaks() -> None:
    """Make the CUDA allocator's peaks begin again at the present use."""
    import torch  # slow

    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()


def pool_bytes() -> dict[str, int]:
    """Return the bytes that the allocator holds, by memory pool: "default", and one a graph pool."""
    import torch  # slow

    held: dict[str, int] = {}
    for segment in torch.cuda.memory_snapshot():  # type: ignore[no-untyped-call]  # torch
        pool = tuple(segment.get("segment_pool_id", (0, 0)))
        name = "default" if pool == (0, 0) else "graph " + ".".join(map(str, pool))
        held[name] = held.get(name, 0) + int(segment["total_size"])
    return held


def bytes_in_use() -> int:
    """Return the bytes in use on the whole device, by every process, context and library."""
    import torch  # slow

    free, total = torch.cuda.mem_get_info()
    return total - free


def limit_memory(limit: int) -> None:
    """Make torch's allocator run out beyond `limit` bytes."""
    import torch  # slow

    _, total = torch.cuda.mem_get_info()
    torch.cuda.set_per_process_memory_fraction(min((limit + 1) / total, 1.0))


@contextlib.contextmanager
def cuda_span() -> Iterator[list[float]]:
    """Measure a span on the device's own clock: the list holds its seconds afterwards."""
    import torch  # slow

    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]  # torch
    seconds: list[float] = []
    begin.record()
    yield seconds
    end.record()
    end.synchronize()
    seconds.append(begin.elapsed_time(end) / 1000)


def captured(work: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
    """Return a CUDA graph of `work` as (replay, its output tensor, overwritten by each replay)."""
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


def present() -> bool:
    """Return whether torch sees a GPU."""
    import torch  # slow

    return torch.cuda.is_available()


@dataclasses.dataclass(frozen=True, slots=True)
class ClockState:
    """The streaming multiprocessors' clock, and NVML's reasons for its being low, as bits."""

    megahertz: int | None
    reasons: int | None

    @property
    def held_down(self) -> bool:
        """Whether power or heat held the clock down."""
        return bool((self.reasons or 0) & HELD_DOWN)


def clock_state() -> ClockState:
    """Return the state of the GPU that torch uses; None for what the driver does not say."""
    import pynvml  # only where hardware is asked about

    return ClockState(
        asked(lambda handle: pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM)),
        asked(pynvml.nvmlDeviceGetCurrentClocksEventReasons),
    )


def energy_joules() -> float | None:
    """Return the driver's counter of energy since it was loaded; None where it has none."""
    import pynvml  # only where hardware is asked about

    millijoules = asked(pynvml.nvmlDeviceGetTotalEnergyConsumption)
    return None if millijoules is None else millijoules / 1000


def asked(question: Callable[[Any], Any]) -> Any:
    """Return the driver's answer about the GPU that torch uses, or None."""
    import pynvml  # only where hardware is asked about
    import torch  # slow

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        uuid = torch.cuda.get_device_properties(torch.cuda.current_device()).uuid
        return question(pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}"))
    except (pynvml.NVMLError, AttributeError):
        return None
    finally:
        pynvml.nvmlShutdown()
