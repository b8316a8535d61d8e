"""Memory: what the loaded model holds, and the peak while images are made."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import nn

from sfbench.cuda import allocator_peaks, bytes_in_use, pool_bytes, reset_allocator_peaks
from sfbench.device import host_memory, reset_host_peak, synchronize
from sfbench.records import Reading
from sfbench.values.metric_names import HOST_ABOVE_LOADED, HOST_PEAK, WEIGHTS

CALLS = 2
PEAKS = ("requested", "allocated", "reserved")


def weights_reading(module: nn.Module | None) -> Reading:
    """Return the bytes of parameters and buffers."""
    if module is None:
        return Reading(metric=WEIGHTS, reason="the generator has no nn.Module")
    tensors = [*module.parameters(), *module.buffers()]
    # Parts may share a tensor: count each storage once.
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
    return Reading(metric=WEIGHTS, value=sum(storages.values()))


def measure_memory(
    work: Callable[[], object], *, batch: int, device: str, loaded: int | None
) -> Iterator[Reading]:
    """Yield host and device peaks of the core region; null with the reason where there is none.

    `loaded`: resident bytes of the process once the model was built.
    """
    how = {"batch": batch, "region": "core", "calls": CALLS}
    retries = 0
    if device == "cuda":
        reset_allocator_peaks()
        retries = allocator_peaks().retries
    resettable = reset_host_peak()
    for _ in range(CALLS):
        work()
    synchronize(device)
    peak = host_memory("VmHWM")
    yield host_reading("memory.host_loaded", loaded, how, "this system does not say")
    if not resettable:
        peak, reason = None, "this system cannot reset the peak (/proc/self/clear_refs)"
    else:
        reason = "this system does not say"
    yield host_reading(HOST_PEAK, peak, how, reason)
    above = None if peak is None or loaded is None else max(peak - loaded, 0)
    yield host_reading(HOST_ABOVE_LOADED, above, how, reason)
    yield from device_readings(device, how, retries)


def host_reading(metric: str, value: int | None, how: dict[str, object], reason: str) -> Reading:
    """Return a reading in bytes, or null with the reason."""
    if value is None:
        return Reading(metric=metric, reason=reason)
    return Reading(metric=metric, value=value, how=how)


def device_readings(device: str, how: dict[str, object], retries: int = 0) -> Iterator[Reading]:
    """Yield the CUDA allocator's peaks; `retries` are those before the measurement."""
    if device != "cuda":
        for name in (*(f"device_{kind}_peak" for kind in PEAKS), "device_in_use"):
            reason = "measured on the CPU: no device"
            yield Reading(metric=f"memory.{name}", reason=reason)
        return
    peaks = allocator_peaks()
    pools = pool_bytes()
    for kind in PEAKS:
        yield Reading(
            metric=f"memory.device_{kind}_peak",
            value=getattr(peaks, kind),
            how=how | {"allocation_retries": peaks.retries - retries},
        )
    for name, held in sorted(pools.items()):
        yield Reading(metric=f"memory.pool[{name}]", value=held, how=how)
    yield Reading(
        metric="memory.device_in_use",
        value=bytes_in_use(),
        how=how | {"what": "the whole device, every process and context on it, after the calls"},
    )


def cold_readings(device: str, peak: int | None) -> Iterator[Reading]:
    """Yield the peaks since before the model was built: compilation and autotuning are in them.

    `peak`: the host's, over the phases so far; None where it cannot be known.
    """
    how: dict[str, object] = {"region": "build, first images, compilation"}
    reason = "this system cannot reset the peak (/proc/self/clear_refs)"
    yield host_reading("memory.host_peak_cold", peak, how, reason)
    if device == "cuda":
        held = allocator_peaks().allocated
        metric = "memory.device_allocated_peak_cold"
        yield Reading(metric=metric, value=held, how=how)
